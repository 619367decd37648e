import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Batcher } from '../../src/batching/batcher.js';
import type { Engine } from '../../src/engines/engine.js';
import { EnginePool } from '../../src/engines/pool.js';
import { startEngine } from '../../src/engines/process.js';
import { buildNetwork } from '../../src/vgg/network.js';
import { randomPixels, relativeError, specOf, writeOwnWeights } from './test-networks.js';

const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-pool-'));
after(() => rmSync(folder, { recursive: true }));
const network = buildNetwork({ cfg: [8, 'M', 16, 'M'], pool: [2, 2], hidden: 32, classes: 5, batchNorm: false });
const spec = specOf(network, 32, writeOwnWeights(network, folder).tensors);

/** An engine that counts its runs and how many of them were under way at a time. */
function counted(engine: Engine): Engine & { runs: number; most: number } {
  let now = 0;
  const counting = {
    info: engine.info,
    runs: 0,
    most: 0,
    async run(pixels: Uint8Array, n: number) {
      counting.runs++;
      counting.most = Math.max(counting.most, ++now);
      return await engine.run(pixels, n).finally(() => now--);
    },
    close: () => engine.close(),
  };
  return counting;
}

test('EnginePool: the batcher feeds whichever of two processes is free', async (t) => {
  const start = async () => counted(await startEngine(spec, { engine: 'onnxruntime' }));
  const engines = await Promise.all([start(), start()]);
  const pool = new EnginePool(engines);
  t.after(() => pool.close());
  let mostAtOnce = 0;
  let now = 0;
  const run = async (pictures: Uint8Array[]) => {
    mostAtOnce = Math.max(mostAtOnce, ++now);
    const { logits } = await pool.run(Buffer.concat(pictures), pictures.length).finally(() => now--);
    return pictures.map((_, i) => logits.slice(i * spec.classes, (i + 1) * spec.classes));
  };
  const batcher = new Batcher(run, { maxBatchSize: 4, maxWaitMs: 0, maxQueue: 1000 }, undefined, pool.lanes);
  const pictures = Array.from({ length: 200 }, (_, seed) => randomPixels(1, 32, seed));
  const answers = await Promise.all(pictures.map((picture) => batcher.submit(picture)));

  const [alone = pool] = engines;
  for (const [index, picture] of pictures.entries()) {
    const { logits } = await alone.run(picture, 1);
    assert.ok(relativeError(answers[index]?.output ?? new Float32Array(0), [...logits]) < 1e-5);
  }
  t.diagnostic(`batches of the two: ${engines.map(({ runs }) => runs).join(' and ')} (the first also ran 200 alone)`);
  assert.equal(mostAtOnce, 2);
  for (const { runs, most } of engines) {
    assert.ok(runs >= 10, `${runs} runs`);
    assert.equal(most, 1);
  }
});

test('EnginePool: more runs than engines wait for the first that is free, a failed run frees its engine', async () => {
  const order: string[] = [];
  const fake = (name: string, ms: number): Engine => ({
    info: { engine: 'native', version: '1.0.0', device: 'cpu', precision: 'fp32', threads: 1 },
    async run(_pixels, n) {
      order.push(`${name} ${n}`);
      await new Promise((resolve) => setTimeout(resolve, ms));
      if (n === 1) throw new Error('no');
      return { logits: new Float32Array(n), computeMs: ms };
    },
    close: async () => void order.push(`${name} closed`),
  });
  const pool = new EnginePool([fake('slow', 60), fake('fast', 5)]);
  assert.equal(pool.lanes, 2);
  const runs = [2, 1, 3, 4].map((n) => pool.run(new Uint8Array(n), n));
  await assert.rejects(runs[1] as Promise<unknown>, /no/);
  await Promise.all([runs[0], runs[2], runs[3]]);
  assert.deepEqual(order, ['slow 2', 'fast 1', 'fast 3', 'fast 4']);
  await pool.close();
  assert.deepEqual(order.slice(4), ['slow closed', 'fast closed']);
});
