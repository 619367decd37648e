import { parentPort } from 'node:worker_threads';
import type { WorkerReply } from '../../src/preprocessing/pool.js';

/** What the test wants of the thread. `gate` and `tries` are shared with it. */
export interface PoolTestJob {
  readonly bytes: Uint8Array;
  readonly order: 'double' | 'measure' | 'refuse' | 'throw' | 'exit';
  /** The order is carried out this many times; after that the bytes are doubled. */
  readonly times?: number;
  readonly tries: Int32Array<SharedArrayBuffer>;
  /** Begins when it is 1. */
  readonly gate?: Int32Array<SharedArrayBuffer>;
}

parentPort?.on('message', ({ bytes, order, times = Infinity, tries, gate }: PoolTestJob) => {
  const tried = Atomics.add(tries, 0, 1);
  if (gate) Atomics.wait(gate, 0, 0);
  const reply = (message: WorkerReply) => parentPort?.postMessage(message);
  switch (tried < times ? order : 'double') {
    case 'double':
      return reply({ output: bytes.map((byte) => byte * 2) as Uint8Array<ArrayBuffer> });
    case 'measure':
      return reply({ output: Uint8Array.of(bytes.buffer.byteLength) });
    case 'refuse':
      return reply({ refusal: { code: 'image_corrupt', detail: 'It is broken.' } });
    case 'throw':
      throw new Error('Out of luck.');
    case 'exit':
      return process.exit(3);
  }
});
