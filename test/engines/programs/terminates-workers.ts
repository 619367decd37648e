/**
 * `node terminates-workers.js SPEC`: threads that have loaded the addon are ended in the middle of open() or run(), 28
 * times. This process must live, and have its memory back.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { openNative } from '../../../src/engines/native/session.js';

if (isMainThread) await terminateMany();
else await work();

async function terminateMany(): Promise<void> {
  const spec: unknown = JSON.parse(process.argv[2] ?? '');
  let before = 0;
  for (let round = 0; round < 28; round++) {
    const repeat = round % 2 === 0 ? 'open' : 'run';
    /** How many times it has begun that. */
    const begun = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(new URL(import.meta.url), { workerData: { spec, repeat, begun } });
    const exit = once(worker, 'exit');
    while (Atomics.load(begun, 0) <= round % 3) await new Promise(setImmediate);
    await worker.terminate();
    await exit;
    if (round === 7) before = anonymousMb();
  }
  const grown = anonymousMb() - before;
  assert.ok(grown < 160, `${grown} MB more after 20 more workers, whose engines have 16 MB each`);
}

/** Until it is terminated. */
async function work(): Promise<void> {
  const { spec, repeat, begun } = workerData;
  const pixels = new Uint8Array(spec.maxBatchSize * spec.inputSize ** 2 * 3);
  const engine = await openNative(spec);
  for (;;) {
    Atomics.add(begun, 0, 1);
    if (repeat === 'run') await engine.run(pixels, spec.maxBatchSize);
    else await (await openNative(spec)).close();
  }
}

function anonymousMb(): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}
