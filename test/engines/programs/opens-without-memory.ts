/** `node opens-without-memory.js SPEC`: open() of networks that the memory left cannot hold; this process must live. */
import assert from 'node:assert/strict';
import { openNative } from '../../../src/engines/native/session.js';
import { limitMemory } from './limit-memory.js';

const spec = JSON.parse(process.argv[2] ?? '');
const pixels = new Uint8Array(spec.inputSize ** 2 * 3);
const run = async () => {
  const engine = await openNative(spec);
  const { logits } = await engine.run(pixels, 1);
  await engine.close();
  return logits;
};

const expected = await run();
limitMemory(2 ** 30);
for (let round = 0; round < 20; round++) {
  await assert.rejects(
    openNative({ ...spec, maxBatchSize: 65536 }),
    /^Error: there is not enough memory for the network$/,
  );
  await assert.rejects(
    openNative({ ...spec, inputSize: 65536 }),
    /^Error: there is not enough memory for the network$/,
  );
  await assert.rejects(
    openNative({ ...spec, threads: 1024 }),
    /^Error: (there is not enough memory for the network|only \d+ of 1024 threads can be started: .+)$/,
  );
}
assert.deepEqual(await run(), expected);
