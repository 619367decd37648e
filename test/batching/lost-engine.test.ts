/** What becomes of entries whose engine is lost, and of those that wait while there is none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Batcher } from '../../src/batching/batcher.js';
import type { BatchLimits } from '../../src/batching/policy.js';
import { EngineLostError, ServiceError } from '../../src/errors.js';
import { HeldEngine, settled, stopClock } from './held-engine.js';

const limits: BatchLimits = { maxBatchSize: 16, maxWaitMs: 0, maxQueue: 64 };
const lost = (wasKilled = false) => new EngineLostError({ wasKilled, cause: new Error('killed') });

/** The outputs, and the codes of errors. */
async function outcomes(answers: readonly Promise<{ output: number }>[]): Promise<(number | string)[]> {
  const all = await Promise.allSettled(answers);
  return all.map((answer) => (answer.status === 'fulfilled' ? answer.value.output : answer.reason.code));
}

/** Runs that lose their engine as long as one of the killers is in them. */
function withKillers(killers: readonly number[], wasKilled = false) {
  const batches: number[][] = [];
  let deaths = 0;
  const run = async (inputs: number[]) => {
    batches.push(inputs);
    if (!inputs.some((input) => killers.includes(input))) return inputs.map((input) => 10 * input);
    deaths++;
    throw lost(wasKilled);
  };
  return { batcher: new Batcher(run, limits), batches, deaths: () => deaths };
}

const numbers = Array.from({ length: 16 }, (_, at) => at);

for (const killer of [0, 7, 15]) {
  test(`a killer among 16 at place ${killer}: 15 are answered, it has engine_failed, and three engines were lost`, async () => {
    const { batcher, batches, deaths } = withKillers([killer]);
    const seen = await outcomes(numbers.map((input) => batcher.submit(input)));
    assert.deepEqual(
      seen,
      numbers.map((input) => (input === killer ? 'engine_failed' : 10 * input)),
    );
    assert.equal(deaths(), 3);
    assert.ok(batches.slice(1).every(({ length }) => length === 1));
    // Its second try comes when the neighbours have their answers.
    assert.deepEqual(batches.at(-1), [killer]);
    assert.equal(batches.length, 1 + 16 + 1);
  });
}

test('two killers among 16: 14 are answered, and each engine that is lost is theirs', async () => {
  const { batcher, deaths } = withKillers([3, 4]);
  const seen = await outcomes(numbers.map((input) => batcher.submit(input)));
  assert.deepEqual(
    seen,
    numbers.map((input) => (input === 3 || input === 4 ? 'engine_failed' : 10 * input)),
  );
  assert.equal(deaths(), 1 + 2 + 2);
});

test('an engine that is killed from without may be lost nine times, and the picture is answered', async () => {
  let kills = 0;
  const batcher = new Batcher(async ([input = 0]: number[]) => {
    if (++kills <= 9) throw lost(true);
    return [10 * input];
  }, limits);
  assert.equal((await batcher.submit(4)).output, 40);
});

test('an engine that is killed from without each time ends with engine_failed', async () => {
  const { batcher, deaths } = withKillers([4], true);
  await assert.rejects(batcher.submit(4), { code: 'engine_failed' });
  assert.equal(deaths(), 10);
});

test('an entry whose engine was lost goes before those that wait, alone, and with its first time in the queue', async () => {
  const engine = new HeldEngine();
  const batcher = new Batcher(engine.run, { ...limits, maxBatchSize: 2 });
  const answers = outcomes([1, 2, 3].map((input) => batcher.submit(input)));
  await settled();
  await engine.last.fail(lost());
  assert.equal(batcher.depth, 2);
  for (let run = 0; run < 3; run++) await engine.last.finish();
  assert.deepEqual(await answers, [10, 20, 30]);
  assert.deepEqual(engine.batches, [[1, 2], [1], [2], [3]]);
});

test('an entry whose engine was lost may leave while it waits again', async (t) => {
  const advance = stopClock(t);
  const engine = new HeldEngine();
  const depths: number[] = [];
  const observer = { queueDepth: (depth: number) => depths.push(depth), queueWait: () => {}, left: () => {} };
  const batcher = new Batcher(engine.run, limits, observer);
  const controller = new AbortController();
  const answers = outcomes([
    batcher.submit(1),
    batcher.submit(2, { signal: controller.signal }),
    batcher.submit(3, { deadlineAt: performance.now() + 100 }),
  ]);
  await settled();
  await engine.last.fail(lost());
  controller.abort();
  await advance(100);
  assert.equal(batcher.depth, 0);
  await engine.last.finish();
  assert.deepEqual(await answers, [10, 'client_closed_request', 'deadline_exceeded']);
  assert.deepEqual(engine.batches, [[1, 2, 3], [1]]);
  assert.deepEqual(depths, [1, 2, 3, 0, 3, 2, 1, 0]);
});

test('an entry that left before its engine was lost does not wait again', async () => {
  const engine = new HeldEngine();
  const batcher = new Batcher(engine.run, limits);
  const controller = new AbortController();
  const answers = outcomes([batcher.submit(1), batcher.submit(2, { signal: controller.signal })]);
  await settled();
  controller.abort();
  await engine.last.fail(lost());
  await engine.last.finish();
  assert.deepEqual(await answers, [10, 'client_closed_request']);
  assert.deepEqual(engine.batches, [[1, 2], [1]]);
});

test('an engine that is lost while a batch that failed is tried in halves: nobody is forgotten', async () => {
  const engine = new HeldEngine();
  const batcher = new Batcher(engine.run, limits);
  const answers = outcomes([1, 2, 3, 4].map((input) => batcher.submit(input)));
  await settled();
  await engine.last.fail(new Error('indigestible'));
  await engine.last.fail(lost());
  await engine.last.finish();
  for (let run = 0; run < 2; run++) await engine.last.finish();
  assert.deepEqual(await answers, [10, 20, 30, 40]);
  assert.deepEqual(engine.batches, [[1, 2, 3, 4], [1, 2], [3, 4], [1], [2]]);
});

test('an error that says nothing of the entries rejects all of the batch, at once', async () => {
  let runs = 0;
  const batcher = new Batcher(async (_: number[]): Promise<number[]> => {
    runs++;
    throw new ServiceError('model_not_ready', 'The engine has given up.');
  }, limits);
  const seen = await outcomes([1, 2, 3].map((input) => batcher.submit(input)));
  assert.deepEqual(seen, ['model_not_ready', 'model_not_ready', 'model_not_ready']);
  assert.equal(runs, 1);
});

test('pause: entries wait in the queue, leave it when they are late, and go together on resume', async (t) => {
  const advance = stopClock(t);
  const engine = new HeldEngine();
  const batcher = new Batcher(engine.run, limits);
  batcher.pause();
  const answers = outcomes([
    batcher.submit(1),
    batcher.submit(2, { deadlineAt: performance.now() + 100 }),
    batcher.submit(3),
  ]);
  await advance(100);
  assert.deepEqual([engine.runs.length, batcher.depth], [0, 2]);
  batcher.resume();
  await settled();
  assert.deepEqual(engine.batches, [[1, 3]]);
  await engine.last.finish();
  assert.deepEqual(await answers, [10, 'deadline_exceeded', 30]);
});

test('pause in the middle of a run: the next batch waits for resume', async () => {
  const engine = new HeldEngine();
  const batcher = new Batcher(engine.run, { ...limits, maxBatchSize: 1 });
  const answers = outcomes([batcher.submit(1), batcher.submit(2)]);
  await settled();
  batcher.pause();
  await engine.last.finish();
  assert.deepEqual(engine.batches, [[1]]);
  batcher.resume();
  batcher.resume();
  await settled();
  await engine.last.finish();
  assert.deepEqual(await answers, [10, 20]);
});

test('close while paused waits for resume, and for no longer than the last entry does', async (t) => {
  const advance = stopClock(t);
  for (const ends of ['resume', 'deadline'] as const) {
    const engine = new HeldEngine();
    const batcher = new Batcher(engine.run, limits);
    batcher.pause();
    const answer = outcomes([batcher.submit(1, { deadlineAt: performance.now() + 100 })]);
    let isClosed = false;
    const closing = batcher.close().then(() => {
      isClosed = true;
    });
    await settled();
    assert.equal(isClosed, false);
    if (ends === 'resume') {
      batcher.resume();
      await settled();
      await engine.last.finish();
    } else {
      await advance(100);
    }
    await closing;
    assert.deepEqual(await answer, [ends === 'resume' ? 10 : 'deadline_exceeded']);
  }
});
