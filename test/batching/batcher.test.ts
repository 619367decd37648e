import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { Batcher } from '../../src/batching/batcher.js';
import type { BatchLimits } from '../../src/batching/policy.js';
import type { ServiceError } from '../../src/errors.js';
import { HeldEngine, settled, stopClock } from './held-engine.js';

function held(limits: Partial<BatchLimits> = {}, lanes = 1) {
  const engine = new HeldEngine();
  const events: string[] = [];
  const batcher = new Batcher(
    engine.run,
    { maxBatchSize: 4, maxWaitMs: 0, maxQueue: 8, ...limits },
    {
      queueDepth: (entries) => events.push(`depth ${entries}`),
      queueWait: (waitMs) => events.push(`waited ${waitMs}`),
    },
    lanes,
  );
  return { engine, batcher, events };
}

const code = (expected: string) => (error: ServiceError) => error.code === expected;

test('submit to an idle engine starts a run before any time passes', async (t) => {
  stopClock(t);
  const { engine, batcher } = held();
  const answer = batcher.submit(7);
  await settled();
  assert.deepEqual(engine.batches, [[7]]);
  await engine.last.finish();
  assert.deepEqual(await answer, { output: 70, queueMs: 0, batchSize: 1, runMs: 0 });
});

test('submits of one turn of the event loop go together', async () => {
  const { engine, batcher } = held();
  const answers = [1, 2, 3].map((input) => batcher.submit(input));
  await settled();
  assert.deepEqual(engine.batches, [[1, 2, 3]]);
  await engine.last.finish();
  assert.deepEqual(
    (await Promise.all(answers)).map(({ output, batchSize }) => [output, batchSize]),
    [
      [10, 3],
      [20, 3],
      [30, 3],
    ],
  );
});

test('submits while the engine is busy fill the next batches, up to maxBatchSize and in order', async () => {
  const { engine, batcher } = held({ maxBatchSize: 2 });
  for (const input of [1, 2, 3, 4]) {
    void batcher.submit(input);
    await settled();
  }
  assert.deepEqual(engine.batches, [[1]]);
  await engine.last.finish();
  assert.deepEqual(engine.batches, [[1], [2, 3]]);
  await engine.last.finish();
  assert.deepEqual(engine.batches, [[1], [2, 3], [4]]);
});

test('with two lanes, two batches are under way at a time, and the first that is done takes the next', async () => {
  const { engine, batcher } = held({ maxBatchSize: 2 }, 2);
  const answers = [1, 2, 3, 4, 5, 6].map((input) => batcher.submit(input));
  await settled();
  assert.deepEqual(engine.batches, [
    [1, 2],
    [3, 4],
  ]);
  await engine.last.finish();
  assert.deepEqual(engine.batches.at(-1), [5, 6]);
  await engine.finishAll();
  assert.deepEqual(
    (await Promise.all(answers)).map(({ output }) => output),
    [10, 20, 30, 40, 50, 60],
  );
  void batcher.submit(7);
  await settled();
  assert.deepEqual(engine.batches.at(-1), [7]);
  const closed = batcher.close();
  await engine.finishAll();
  await closed;
});

test('submit answers with the time in the queue and the time of the run', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher } = held();
  void batcher.submit(1);
  await advance(3);
  const answer = batcher.submit(2);
  await advance(4);
  await engine.last.finish();
  await advance(5);
  await engine.last.finish();
  assert.deepEqual(await answer, { output: 20, queueMs: 4, batchSize: 1, runMs: 5 });
});

test('submit with maxWaitMs waits that long from the first entry on', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher } = held({ maxWaitMs: 10 });
  void batcher.submit(1);
  await advance(6);
  void batcher.submit(2);
  await advance(3);
  assert.deepEqual(engine.batches, []);
  await advance(1);
  assert.deepEqual(engine.batches, [[1, 2]]);
});

test('submit with maxWaitMs does not wait once the batch is full', async (t) => {
  stopClock(t);
  const { engine, batcher } = held({ maxWaitMs: 10, maxBatchSize: 2 });
  void batcher.submit(1);
  await settled();
  assert.deepEqual(engine.batches, []);
  void batcher.submit(2);
  await settled();
  assert.deepEqual(engine.batches, [[1, 2]]);
});

test('submit beyond maxQueue is refused with queue_full, and with 1 s before any speed is known', async () => {
  const { engine, batcher } = held({ maxQueue: 2 });
  void batcher.submit(1);
  await settled();
  const queued = [batcher.submit(2), batcher.submit(3)];
  assert.equal(batcher.depth, 2);
  await assert.rejects(batcher.submit(4), { code: 'queue_full', retryAfterSeconds: 1 });
  await engine.last.finish();
  await engine.last.finish();
  assert.deepEqual(
    (await Promise.all(queued)).map(({ output }) => output),
    [20, 30],
  );
  assert.deepEqual(engine.batches, [[1], [2, 3]]);
});

test('queue_full says when one more would be answered, from the time of the last runs by their size, rounded up', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher } = held({ maxBatchSize: 2, maxQueue: 3 });
  void batcher.submit(1);
  void batcher.submit(2);
  await settled();
  await advance(4200);
  await engine.last.finish();
  void batcher.submit(3);
  await settled();
  await advance(7100);
  await engine.last.finish();
  for (const input of [4, 5]) void batcher.submit(input);
  await settled();
  for (const input of [6, 7, 8]) void batcher.submit(input);
  // The batch that has just begun, [6, 7], and [8, 9]: three runs of two.
  await assert.rejects(batcher.submit(9), { code: 'queue_full', retryAfterSeconds: 13 });
});

test('abort of an entry that waits: rejected at once, its place is free, and the engine never sees it', async () => {
  const { engine, batcher, events } = held({ maxQueue: 2 });
  void batcher.submit(1);
  await settled();
  const controller = new AbortController();
  const aborted = batcher.submit(2, { signal: controller.signal });
  void batcher.submit(3);
  controller.abort();
  assert.equal(batcher.depth, 1);
  await assert.rejects(aborted, code('client_closed_request'));
  void batcher.submit(4);
  await engine.last.finish();
  assert.deepEqual(engine.batches, [[1], [3, 4]]);
  assert.ok(events.includes('depth 1'));
});

test('abort of an entry that the engine has: rejected at once, and its neighbour is answered', async () => {
  const { engine, batcher } = held();
  const controller = new AbortController();
  const aborted = batcher.submit(1, { signal: controller.signal });
  const neighbour = batcher.submit(2);
  await settled();
  controller.abort();
  await assert.rejects(aborted, code('client_closed_request'));
  await engine.last.finish();
  assert.equal((await neighbour).output, 20);
});

test('submit with a deadline: rejected by the clock while the engine is busy', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher, events } = held();
  void batcher.submit(1);
  await settled();
  const late = batcher.submit(2, { deadlineAt: performance.now() + 30 });
  const rejected = assert.rejects(late, {
    code: 'deadline_exceeded',
    message: 'No answer within the time allowed: after 30 ms it still waited for the engine.',
  });
  await advance(29);
  assert.equal(batcher.depth, 1);
  await advance(1);
  assert.equal(batcher.depth, 0);
  await rejected;
  assert.equal(events.at(-1), 'depth 0');
  await engine.last.finish();
  assert.deepEqual(engine.batches, [[1]]);
});

test('submit with a deadline that passes in the engine: rejected by the clock', async (t) => {
  const advance = stopClock(t);
  const { batcher } = held();
  const late = batcher.submit(1, { deadlineAt: performance.now() + 30 });
  const rejected = assert.rejects(late, {
    code: 'deadline_exceeded',
    message: 'No answer within the time allowed: after 30 ms the engine was still at work.',
  });
  await settled();
  await advance(30);
  await rejected;
});

test('a deadline that passes after the answer changes nothing', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher, events } = held();
  const answer = batcher.submit(1, { deadlineAt: performance.now() + 30 });
  await settled();
  await engine.last.finish();
  await advance(60);
  assert.equal((await answer).output, 10);
  assert.deepEqual(events, ['depth 1', 'waited 0', 'depth 0']);
});

test('a deadline whose timer could not fire yet still keeps the entry from the engine', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const { engine, batcher } = held();
  const late = batcher.submit(1, { deadlineAt: 10_000 });
  now = 10_000; // as if the event loop had been blocked for so long
  await assert.rejects(late, code('deadline_exceeded'));
  assert.deepEqual(engine.batches, []);
});

test('submit with a deadline in the far future waits for it', async () => {
  const { engine, batcher } = held();
  const answer = batcher.submit(1, { deadlineAt: Number.POSITIVE_INFINITY });
  await new Promise((resolve) => setTimeout(resolve, 5)); // a delay that is too long for setTimeout is taken as 1 ms
  await engine.last.finish();
  assert.equal((await answer).output, 10);
});

test('submit of what is aborted or late already takes no place', async () => {
  const { engine, batcher, events } = held();
  await assert.rejects(batcher.submit(1, { signal: AbortSignal.abort() }), code('client_closed_request'));
  await assert.rejects(batcher.submit(2, { deadlineAt: performance.now() }), code('deadline_exceeded'));
  assert.deepEqual(events, []);
  assert.deepEqual(engine.batches, []);
});

test('many submits with one signal leave no listener and no warning behind', async () => {
  const warnings: Error[] = [];
  const listen = (warning: Error) => {
    if (warning.name === 'MaxListenersExceededWarning') warnings.push(warning);
  };
  process.on('warning', listen);
  const { engine, batcher } = held({ maxBatchSize: 16, maxQueue: 16 });
  const { signal } = new AbortController();
  const answers = Array.from({ length: 16 }, (_, i) => batcher.submit(i, { signal }));
  assert.equal(getEventListeners(signal, 'abort').length, 16);
  await settled();
  await engine.last.finish();
  await Promise.all(answers);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
  assert.deepEqual(warnings, []);
  process.off('warning', listen);
});

test('a run that fails for a single entry rejects it with that error', async () => {
  const { engine, batcher } = held();
  const answer = batcher.submit(1);
  const error = new Error('the engine is broken');
  await settled();
  void engine.last.fail(error);
  await assert.rejects(answer, error);
  assert.deepEqual(engine.batches, [[1]]);
});

test('a run that fails for several is tried in halves until only the culprit is rejected', async () => {
  const batches: number[][] = [];
  const batcher = new Batcher(
    async (inputs: number[]) => {
      batches.push(inputs);
      if (inputs.includes(3)) throw new Error('3 is not digestible');
      return inputs.map((input) => 10 * input);
    },
    { maxBatchSize: 4, maxWaitMs: 0, maxQueue: 8 },
  );
  const answers = await Promise.allSettled([1, 2, 3, 4].map((input) => batcher.submit(input)));
  assert.deepEqual(
    answers.map((answer) => (answer.status === 'fulfilled' ? answer.value.output : answer.reason.message)),
    [10, 20, '3 is not digestible', 40],
  );
  assert.deepEqual(batches, [[1, 2, 3, 4], [1, 2], [3, 4], [3], [4]]);
});

test('a run that fails is not tried again for entries that left meanwhile', async () => {
  const { engine, batcher } = held();
  const controller = new AbortController();
  const submit = (input: number) => batcher.submit(input, input < 3 ? {} : { signal: controller.signal });
  const answers = Promise.allSettled([1, 2, 3, 4].map(submit));
  await settled();
  controller.abort();
  await engine.last.fail(new Error('broken'));
  assert.deepEqual(engine.batches, [
    [1, 2, 3, 4],
    [1, 2],
  ]);
  await engine.last.finish();
  assert.deepEqual(
    (await answers).map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'rejected'],
  );
  assert.equal(engine.runs.length, 2);
});

test('a run with too few outputs fails', async () => {
  const batcher = new Batcher(async () => [], { maxBatchSize: 4, maxWaitMs: 0, maxQueue: 8 });
  await assert.rejects(batcher.submit(1), { message: 'The engine gave 0 outputs for a batch of 1.' });
});

test('close refuses new entries, answers those that wait, and resolves when all are answered', async () => {
  const { engine, batcher } = held({ maxBatchSize: 1 });
  const answers = [batcher.submit(1), batcher.submit(2)];
  await settled();
  let closed = false;
  const closing = batcher.close().then(() => {
    closed = true;
  });
  await assert.rejects(batcher.submit(3), code('shutting_down'));
  await engine.last.finish();
  assert.equal(closed, false);
  await engine.last.finish();
  assert.equal(closed, true);
  await closing;
  assert.deepEqual(
    (await Promise.all(answers)).map(({ output }) => output),
    [10, 20],
  );
});

test('close does not wait for a batch to fill', async (t) => {
  stopClock(t);
  const { engine, batcher } = held({ maxWaitMs: 10_000 });
  const answer = batcher.submit(1);
  await settled();
  assert.deepEqual(engine.batches, []);
  const closing = batcher.close();
  await settled();
  await engine.last.finish();
  await closing;
  assert.equal((await answer).output, 10);
});

test('close of an idle batcher resolves, and may be called again', async () => {
  const { batcher } = held();
  await batcher.close();
  await batcher.close();
  await assert.rejects(batcher.submit(1), code('shutting_down'));
});

test('timers of waiting entries do not keep the process alive', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  const before = timers();
  const { batcher } = held({ maxWaitMs: 60_000 });
  const answer = batcher.submit(1, { deadlineAt: performance.now() + 60_000 });
  await settled();
  assert.equal(timers(), before);
  void answer;
});

test('the observer sees each change of the queue, each wait, and who left', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher, events } = held();
  void batcher.submit(1);
  await settled();
  void batcher.submit(2);
  void batcher.submit(3);
  await advance(5);
  await engine.last.finish();
  assert.deepEqual(events, ['depth 1', 'waited 0', 'depth 0', 'depth 1', 'depth 2', 'waited 5', 'waited 5', 'depth 0']);
});

test('predictMs counts the run in flight down, adds the batches before, and what is still on its way', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher } = held({ maxBatchSize: 2, maxQueue: 9 });
  assert.equal(batcher.predictMs(1), 0, 'nothing is known yet');
  await runFor(100, 1);
  await runFor(150, 2);
  assert.equal(batcher.predictMs(1), 100);
  assert.equal(batcher.predictMs(2), 150);
  for (const input of [1, 2, 3]) void batcher.submit(input);
  await settled();
  await advance(40);
  // 110 ms are left of [1, 2]; then [3, new].
  assert.equal(batcher.predictMs(1), 110 + 150);
  assert.equal(batcher.predictMs(1, { entries: 1, readyInMs: 0 }), 110 + 150 + 100);
  assert.equal(batcher.predictMs(1, { entries: 1, readyInMs: 400 }), 400 + 100);
  await advance(210);
  assert.equal(batcher.predictMs(1), 100 + 150, 'it is 100 ms late, and will be as late again');
  await engine.finishAll();

  async function runFor(ms: number, entries: number): Promise<void> {
    for (let input = 0; input < entries; input++) void batcher.submit(input);
    await settled();
    await advance(ms);
    await engine.last.finish();
  }
});

test('predictMs with maxWaitMs: a batch that is not full waits for others', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher } = held({ maxBatchSize: 3, maxWaitMs: 20 });
  void batcher.submit(1);
  await advance(20);
  await advance(10);
  await engine.last.finish();
  assert.equal(batcher.predictMs(1), 20 + 10);
  assert.equal(batcher.predictMs(3), 30, 'a full one does not wait; three take 30 ms as one takes 10');
  void batcher.submit(2);
  await advance(5);
  assert.equal(batcher.predictMs(1), 15 + 20, 'the first of the batch has waited for 5 ms');
});

test('submit that would be answered after its deadline is refused, with the time of an answer and nothing in the queue', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher } = held({ maxBatchSize: 1 });
  void batcher.submit(1);
  await settled();
  await advance(1400);
  await engine.last.finish();
  const deadlineAt = performance.now() + 3000;
  void batcher.submit(2, { deadlineAt });
  await settled();
  await advance(100);
  void batcher.submit(3, { deadlineAt });
  assert.equal(batcher.depth, 1);
  // 1,300 ms of the run, 1,400 of the one before it, 1,400 of its own; 2,900 are left.
  await assert.rejects(batcher.submit(4, { deadlineAt }), {
    code: 'overloaded',
    message:
      'An answer would be there in about 4100 ms, and 2900 ms are left of the time allowed. Try again in 5 s, or allow more time.',
    retryAfterSeconds: 5,
    members: { eta_ms: 4100 },
  });
  assert.equal(batcher.depth, 1);
  void batcher.submit(5, { deadlineAt: performance.now() + 4100 });
  assert.equal(batcher.depth, 2);
  await engine.finishAll();
});

test('submit to an idle engine is never refused: what was learnt may be wrong', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher } = held();
  void batcher.submit(1);
  await settled();
  await advance(60_000);
  await engine.last.finish();
  const answer = batcher.submit(2, { deadlineAt: performance.now() + 100 });
  await settled();
  await engine.last.finish();
  assert.equal((await answer).output, 20);
});

test('refusal at arrival: too late, unless the engine has been idle for a second; and a queue that will be full', async (t) => {
  const advance = stopClock(t);
  const { engine, batcher } = held({ maxBatchSize: 1, maxQueue: 3 });
  const within = (ms: number, entries = 0) =>
    batcher.refusal(1, performance.now() + ms, { entries, readyInMs: 0 })?.code;
  assert.equal(within(1), undefined, 'nothing is known yet');
  void batcher.submit(1);
  await settled();
  await advance(500);
  await engine.last.finish();
  assert.equal(within(499), 'overloaded');
  assert.equal(within(500), undefined);
  await advance(1000);
  assert.equal(within(499), 'overloaded');
  await advance(1);
  assert.equal(within(1), undefined, 'one is let through, to learn anew');
  assert.equal(within(1, 1), 'overloaded', 'one only');
  assert.equal(within(60_000, 3), undefined, 'one goes to the engine, three to the queue');
  assert.equal(within(60_000, 4), 'queue_full');
  void batcher.submit(2);
  await settled();
  assert.equal(within(60_000, 2), undefined);
  assert.equal(within(60_000, 3), 'queue_full');
  await engine.finishAll();
});

test('submit tells its entry that it goes to the engine, just before the run', async () => {
  const { engine, batcher, events } = held({ maxBatchSize: 1 });
  const onRun = (input: number) => () => events.push(`${input} goes, ${engine.runs.length} runs before`);
  for (const input of [1, 2]) void batcher.submit(input, { onRun: onRun(input) });
  await settled();
  assert.deepEqual(
    events.filter((event) => event.includes('goes')),
    ['1 goes, 0 runs before'],
  );
  await engine.last.finish();
  assert.ok(events.includes('2 goes, 1 runs before'));
  await engine.finishAll();
});
