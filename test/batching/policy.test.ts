import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextBatch, reasonToLeave, type Waiting } from '../../src/batching/policy.js';

interface Named extends Waiting {
  readonly name: string;
}

function waiting(name: string, rest: Partial<Waiting> = {}): Named {
  return { name, queuedAt: 0, signal: undefined, deadlineAt: undefined, ...rest };
}

function names(entries: readonly Named[]): string {
  return entries.map(({ name }) => name).join('');
}

const aborted = { signal: AbortSignal.abort() };
const [a, b, c] = [waiting('a'), waiting('b'), waiting('c')];

test('nextBatch of an empty queue: nothing goes and nothing is waited for', () => {
  assert.deepEqual(nextBatch([], 5, { maxBatchSize: 4, maxWaitMs: 10 }), { leaving: [], batch: [], waitMs: 0 });
});

test('nextBatch with maxWaitMs 0 takes a single entry at once', () => {
  assert.deepEqual(nextBatch([a], 0, { maxBatchSize: 4, maxWaitMs: 0 }), { leaving: [], batch: [a], waitMs: 0 });
});

test('nextBatch takes the oldest maxBatchSize entries in their order', () => {
  assert.equal(names(nextBatch([a, b, c], 0, { maxBatchSize: 2, maxWaitMs: 0 }).batch), 'ab');
});

test('nextBatch of a batch that is not full waits, counted from the first entry', () => {
  const entries = [waiting('a', { queuedAt: 100 }), waiting('b', { queuedAt: 107 })];
  const limits = { maxBatchSize: 3, maxWaitMs: 10 };
  assert.deepEqual(nextBatch(entries, 108, limits), { leaving: [], batch: [], waitMs: 2 });
  assert.equal(names(nextBatch(entries, 110, limits).batch), 'ab');
});

test('nextBatch of a full batch does not wait', () => {
  assert.equal(names(nextBatch([a, b], 0, { maxBatchSize: 2, maxWaitMs: 10 }).batch), 'ab');
});

test('nextBatch lets aborted and late entries leave and fills their places', () => {
  const entries = [waiting('x', aborted), a, waiting('y', { deadlineAt: 50 }), b, c];
  const { leaving, batch } = nextBatch(entries, 50, { maxBatchSize: 2, maxWaitMs: 0 });
  assert.deepEqual(leaving, [
    { entry: entries[0], reason: 'aborted' },
    { entry: entries[2], reason: 'late' },
  ]);
  assert.equal(names(batch), 'ab');
});

test('nextBatch counts the wait from the first entry that stays', () => {
  const entries = [waiting('x', aborted), waiting('a', { queuedAt: 40 })];
  const { leaving, waitMs } = nextBatch(entries, 45, { maxBatchSize: 2, maxWaitMs: 10 });
  assert.equal(leaving.length, 1);
  assert.equal(waitMs, 5);
});

test('nextBatch looks no further than one batch needs', () => {
  function* endless() {
    yield a;
    yield waiting('x', aborted);
    yield b;
    assert.fail('a third entry that stays was asked for');
  }
  assert.equal(names(nextBatch(endless(), 0, { maxBatchSize: 2, maxWaitMs: 10 }).batch), 'ab');
});

test('reasonToLeave is late from the deadline on, and aborted first of all', () => {
  assert.equal(reasonToLeave(waiting('a', { deadlineAt: 50 }), 49.9), undefined);
  assert.equal(reasonToLeave(waiting('a', { deadlineAt: 50 }), 50), 'late');
  assert.equal(reasonToLeave(waiting('a', { ...aborted, deadlineAt: 50 }), 50), 'aborted');
});
