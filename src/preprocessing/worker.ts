import { parentPort } from 'node:worker_threads';
import { ServiceError } from '../errors.js';
import { type CropJob, makeCrop } from './crop.js';
import type { WorkerReply } from './pool.js';

// One job at a time. Anything but a refusal of the picture ends the thread, and the pool deals with that.
parentPort?.on('message', async (job: CropJob) => {
  const reply: WorkerReply = await makeCrop(job).then(
    (output) => ({ output }),
    (error) => {
      if (!(error instanceof ServiceError)) throw error;
      return { refusal: { code: error.code, detail: error.message } };
    },
  );
  parentPort?.postMessage(reply, reply.output ? [reply.output.buffer] : []);
});
