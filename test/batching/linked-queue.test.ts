import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Linked, LinkedQueue } from '../../src/batching/linked-queue.js';

interface Letter extends Linked<Letter> {
  readonly letter: string;
}

function queueOf(...letters: string[]): { queue: LinkedQueue<Letter>; entries: Letter[] } {
  const queue = new LinkedQueue<Letter>();
  const entries = letters.map((letter) => ({ letter, previous: undefined, next: undefined }));
  for (const entry of entries) queue.push(entry);
  return { queue, entries };
}

function lettersOf(queue: LinkedQueue<Letter>): string {
  return Array.from(queue, ({ letter }) => letter).join('');
}

for (const [index, rest] of [
  [0, 'bc'],
  [1, 'ac'],
  [2, 'ab'],
] as const) {
  test(`remove of entry ${index} of three leaves ${rest}`, () => {
    const { queue, entries } = queueOf('a', 'b', 'c');
    queue.remove(entries[index] as Letter);
    assert.equal(lettersOf(queue), rest);
    assert.equal(queue.length, 2);
  });
}

test('push after the last entry was removed', () => {
  const { queue, entries } = queueOf('a');
  queue.remove(entries[0] as Letter);
  assert.equal(lettersOf(queue), '');
  queue.push({ letter: 'z', previous: undefined, next: undefined });
  assert.equal(lettersOf(queue), 'z');
  assert.equal(queue.length, 1);
});

test('any pushes and removes leave what an array would hold', () => {
  const commands = fc.array(fc.oneof(fc.constant('push'), fc.nat(20)), { maxLength: 60 });
  fc.assert(
    fc.property(commands, (steps) => {
      const queue = new LinkedQueue<Letter>();
      const array: Letter[] = [];
      for (const [count, step] of steps.entries()) {
        if (step === 'push') {
          const entry = { letter: String.fromCharCode(97 + count), previous: undefined, next: undefined };
          queue.push(entry);
          array.push(entry);
        } else {
          for (const entry of array.splice(Number(step), 1)) queue.remove(entry);
        }
        assert.deepEqual([...queue], array);
        assert.equal(queue.length, array.length);
      }
    }),
  );
});
