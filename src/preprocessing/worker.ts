import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort } from 'node:worker_threads';
import { ServiceError } from '../errors.js';
import { type CropJob, makeCrop } from './crop.js';
import { forgetPictures } from './decode.js';
import { trimMemory } from './native-resample.js';
import type { WorkerReply } from './pool.js';

/** From here on memory is given back before the answer goes out, which takes 2 to 5 ms. */
const large = { pixels: 2_000_000, bytes: 1_000_000 };

// Pixels lie outside of V8's heap, where V8 sees little reason to collect: an idle thread would keep those of its last
// pictures, several hundred MB of them. It gives no other way to ask for it from within.
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Time for the last request to be answered, and its bytes to go. */
const idleAfterMs = 1000;
const whenIdle = setTimeout(async () => {
  collect();
  await setImmediate();
  trimMemory();
}, idleAfterMs);

// One job at a time. Anything but a refusal of the picture ends the thread, and the pool deals with that.
parentPort?.on('message', async (job: CropJob) => {
  const reply: WorkerReply = await makeCrop(job).then(
    (output) => ({ output }),
    (error) => {
      if (!(error instanceof ServiceError)) throw error;
      return { refusal: { code: error.code, detail: error.message } };
    },
  );
  whenIdle.refresh();
  if (job.header.width * job.header.height > large.pixels || job.bytes.length > large.bytes) {
    forgetPictures();
    collect();
    await setImmediate(); // Node frees what was collected in its next turn.
  }
  parentPort?.postMessage(reply, reply.output ? [reply.output.buffer] : []);
});
