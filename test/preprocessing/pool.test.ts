import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ServiceError } from '../../src/errors.js';
import { WorkerPool } from '../../src/preprocessing/pool.js';
import type { PoolTestJob } from './pool-worker.js';

const shared = () => new Int32Array(new SharedArrayBuffer(4));

function open(gate: Int32Array<SharedArrayBuffer>): void {
  Atomics.store(gate, 0, 1);
  Atomics.notify(gate, 0);
}

function job(order: PoolTestJob['order'], more: Partial<PoolTestJob> = {}): PoolTestJob {
  return { bytes: Uint8Array.of(1, 2, 3), order, tries: shared(), ...more };
}

function startPool(t: TestContext, threads: number): WorkerPool<PoolTestJob> {
  const pool = new WorkerPool<PoolTestJob>(new URL('./pool-worker.js', import.meta.url), threads);
  t.after(() => pool.close());
  return pool;
}

test('WorkerPool.run: more jobs than threads', async (t) => {
  const pool = startPool(t, 2);
  const answers = Array.from({ length: 9 }, (_, i) => pool.run(job('double', { bytes: Uint8Array.of(i) })));
  assert.deepEqual(
    await Promise.all(answers),
    Array.from({ length: 9 }, (_, i) => Uint8Array.of(2 * i)),
  );
});

test('WorkerPool.run: the bytes stay with the caller, and only they travel', async (t) => {
  const pool = startPool(t, 1);
  const large = new Uint8Array(1000).fill(9);
  const bytes = large.subarray(10, 12);
  assert.deepEqual(await pool.run(job('double', { bytes })), Uint8Array.of(18, 18));
  assert.deepEqual(await pool.run(job('measure', { bytes })), Uint8Array.of(2));
  assert.equal(large.length, 1000);
});

test('WorkerPool.run: a refusal is the ServiceError that the worker threw, and its thread lives on', async (t) => {
  const pool = startPool(t, 1);
  await assert.rejects(pool.run(job('refuse')), (error) => {
    assert.ok(error instanceof ServiceError);
    assert.deepEqual([error.code, error.message], ['image_corrupt', 'It is broken.']);
    return true;
  });
  assert.deepEqual(await pool.run(job('double')), Uint8Array.of(2, 4, 6));
});

for (const order of ['throw', 'exit'] as const) {
  test(`WorkerPool.run: the thread dies once (${order}), the job is run again in a new one`, async (t) => {
    const pool = startPool(t, 1);
    const first = job(order, { times: 1 });
    const answers = await Promise.all([pool.run(first), pool.run(job('double'))]);
    assert.deepEqual(answers, [Uint8Array.of(2, 4, 6), Uint8Array.of(2, 4, 6)]);
    assert.equal(first.tries[0], 2);
  });

  test(`WorkerPool.run: the thread dies twice (${order}), the job is given up and the next one is done`, async (t) => {
    const pool = startPool(t, 1);
    const deadly = job(order);
    const next = pool.run(job('double'));
    await assert.rejects(pool.run(deadly), { code: 'internal', message: 'The picture ended the thread that read it.' });
    assert.equal(deadly.tries[0], 2);
    assert.deepEqual(await next, Uint8Array.of(2, 4, 6));
    assert.deepEqual(await pool.run(job('double')), Uint8Array.of(2, 4, 6));
  });
}

/** Jobs of as many bytes as the budget's half and one more, by their first byte. */
function startPoolOfTwoHalves(t: TestContext): WorkerPool<PoolTestJob> {
  const budget = { mostBytes: 100, bytesOf: ({ bytes }: PoolTestJob) => bytes[0] ?? 0 };
  const pool = new WorkerPool<PoolTestJob>(new URL('./pool-worker.js', import.meta.url), 3, budget);
  t.after(() => pool.close());
  return pool;
}

test('WorkerPool.run: what is in progress stays within the budget, and no job overtakes one that waits for it', async (t) => {
  const pool = startPoolOfTwoHalves(t);
  const gate = shared();
  const done: string[] = [];
  const run = (name: string, size: number, more: Partial<PoolTestJob> = {}) =>
    pool.run(job('double', { bytes: Uint8Array.of(size), ...more })).then(() => done.push(name));
  const jobs = [run('60', 60, { gate }), run('40', 40), run('41', 41), run('1', 1)];
  await jobs[1];
  await startPool(t, 1).run(job('double')); // Long enough for the others to be done too, were they let in.
  open(gate);
  await Promise.all(jobs);
  assert.deepEqual(done.slice(0, 2), ['40', '60']);
});

test('WorkerPool.run: a job larger than the budget runs alone', async (t) => {
  const pool = startPoolOfTwoHalves(t);
  const jobs = [1, 101, 2].map((size) => pool.run(job('double', { bytes: Uint8Array.of(size) })));
  assert.deepEqual(await Promise.all(jobs), [Uint8Array.of(2), Uint8Array.of(202), Uint8Array.of(4)]);
});

test('WorkerPool.run: a thread that dies gives its memory back', async (t) => {
  const pool = startPoolOfTwoHalves(t);
  await assert.rejects(pool.run(job('throw', { bytes: Uint8Array.of(90) })), { code: 'internal' });
  const gate = shared();
  const [first, second] = [
    job('double', { bytes: Uint8Array.of(50), gate }),
    job('double', { bytes: Uint8Array.of(50) }),
  ];
  const running = pool.run(first);
  await pool.run(second); // Beside the first one, which waits.
  open(gate);
  await running;
});

test('WorkerPool.run: those behind a job that waits for memory go on when it is aborted', async (t) => {
  const pool = startPoolOfTwoHalves(t);
  const gate = shared();
  const abort = new AbortController();
  const running = pool.run(job('double', { bytes: Uint8Array.of(60), gate }));
  const large = pool.run(job('double', { bytes: Uint8Array.of(99) }), abort.signal);
  const small = pool.run(job('double', { bytes: Uint8Array.of(7) }));
  abort.abort();
  await assert.rejects(large, { code: 'client_closed_request' });
  assert.deepEqual(await small, Uint8Array.of(14));
  open(gate);
  await running;
});

test('WorkerPool.run: aborted before it is called', async (t) => {
  const pool = startPool(t, 1);
  await assert.rejects(pool.run(job('double'), AbortSignal.abort()), { code: 'client_closed_request' });
});

test('WorkerPool.run: aborted while it waits, it never reaches a thread', async (t) => {
  const pool = startPool(t, 1);
  const gate = shared();
  const controller = new AbortController();
  const waiting = job('double');
  const running = pool.run(job('double', { gate }));
  const aborted = assert.rejects(pool.run(waiting, controller.signal), { code: 'client_closed_request' });
  const last = pool.run(job('double'));
  controller.abort();
  await aborted;
  open(gate);
  await Promise.all([running, last]);
  assert.equal(waiting.tries[0], 0);
});

test('WorkerPool.run: aborted while it runs, it is rejected at once and its thread goes on', async (t) => {
  const pool = startPool(t, 1);
  const gate = shared();
  const controller = new AbortController();
  const running = pool.run(job('double', { gate }), controller.signal);
  const next = pool.run(job('double'));
  controller.abort();
  await assert.rejects(running, { code: 'client_closed_request' });
  open(gate);
  assert.deepEqual(await next, Uint8Array.of(2, 4, 6));
});

test('WorkerPool.run: aborted while it runs, then its thread dies: it is not run again', async (t) => {
  const pool = startPool(t, 1);
  const gate = shared();
  const controller = new AbortController();
  const deadly = job('exit', { gate });
  const running = pool.run(deadly, controller.signal);
  controller.abort();
  await assert.rejects(running, { code: 'client_closed_request' });
  open(gate);
  await pool.run(job('double'));
  assert.ok((deadly.tries[0] ?? 0) <= 1);
});

test('WorkerPool.run: the listener is taken off the signal', async (t) => {
  const pool = startPool(t, 1);
  const { signal } = new AbortController();
  let listeners = 0;
  t.mock.method(signal, 'addEventListener', () => listeners++);
  t.mock.method(signal, 'removeEventListener', () => listeners--);
  const answer = pool.run(job('double'), signal);
  assert.equal(listeners, 1);
  await answer;
  assert.equal(listeners, 0);
});

test('WorkerPool.close: what waits is refused, what runs is answered, then nothing more is taken', async () => {
  const pool = new WorkerPool<PoolTestJob>(new URL('./pool-worker.js', import.meta.url), 1);
  const gate = shared();
  const running = pool.run(job('double', { gate }));
  const waiting = assert.rejects(pool.run(job('double')), { code: 'shutting_down' });
  const closed = pool.close();
  await waiting;
  open(gate);
  assert.deepEqual(await running, Uint8Array.of(2, 4, 6));
  await closed;
  await assert.rejects(pool.run(job('double')), { code: 'shutting_down' });
  await pool.close();
});

test('WorkerPool.close: a thread dies meanwhile, its job is run again and answered', async () => {
  const pool = new WorkerPool<PoolTestJob>(new URL('./pool-worker.js', import.meta.url), 1);
  const gate = shared();
  const running = pool.run(job('exit', { gate, times: 1 }));
  const closed = pool.close();
  open(gate);
  assert.deepEqual(await running, Uint8Array.of(2, 4, 6));
  await closed;
});
