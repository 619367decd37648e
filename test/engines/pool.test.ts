import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Batcher } from '../../src/batching/batcher.js';
import type { Engine, EngineCondition } from '../../src/engines/engine.js';
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

/** An engine whose condition the test sets, and whose runs end when it says so. */
class WatchedEngine implements Engine {
  readonly info = { engine: 'native', version: '1.0.0', device: 'cpu', precision: 'fp32', threads: 1 } as const;
  readonly finish: (() => void)[] = [];
  runs = 0;
  #condition: EngineCondition = { state: 'up' };
  #listener = (_: EngineCondition) => {};

  watch(listener: (condition: EngineCondition) => void): void {
    this.#listener = listener;
    listener(this.#condition);
  }

  set condition(condition: EngineCondition) {
    this.#condition = condition;
    this.#listener(condition);
  }

  run(_: Uint8Array, n: number) {
    this.runs++;
    if (this.#condition.state === 'failed') return Promise.reject(new Error('given up'));
    return new Promise<{ logits: Float32Array; computeMs: number }>((resolve) =>
      this.finish.push(() => resolve({ logits: new Float32Array(n), computeMs: 1 })),
    );
  }

  async close() {}
}

const down: EngineCondition = { state: 'down', reason: 'killed by SIGKILL', attempt: 1 };
const failed: EngineCondition = { state: 'failed', reason: 'lost 5 times', mayRecover: true };
const settled = () => new Promise((resolve) => setImmediate(resolve));

test('EnginePool: a dead engine takes no batch while another is idle, nor while it is busy, and takes one once it lives', async () => {
  const [dead, alive] = [new WatchedEngine(), new WatchedEngine()];
  const pool = new EnginePool([dead, alive]);
  const conditions: string[] = [];
  pool.watch(({ state }) => conditions.push(state));
  dead.condition = down;
  const runs = Array.from({ length: 3 }, () => pool.run(new Uint8Array(1), 1));
  await settled();
  assert.deepEqual([dead.runs, alive.runs], [0, 1]);
  alive.finish.shift()?.();
  await settled();
  assert.deepEqual([dead.runs, alive.runs], [0, 2]);
  dead.condition = { state: 'up' };
  await settled();
  assert.deepEqual([dead.runs, alive.runs], [1, 2]);
  for (const { finish } of [dead, alive]) finish.shift()?.();
  await Promise.all(runs);
  assert.deepEqual(conditions, ['up']);
});

test('EnginePool: is down when no engine lives, and failed when all have given up; then a run is told why', async () => {
  const [one, other] = [new WatchedEngine(), new WatchedEngine()];
  const pool = new EnginePool([one, other]);
  const conditions: string[] = [];
  pool.watch(({ state }) => conditions.push(state));
  one.condition = failed;
  other.condition = down;
  const waiting = pool.run(new Uint8Array(1), 1);
  await settled();
  assert.equal(one.runs + other.runs, 0);
  other.condition = failed;
  await assert.rejects(waiting, /given up/);
  assert.deepEqual(conditions, ['up', 'down', 'failed']);
});

test('EnginePool: one process of two is killed: the other answers all, and the pool goes on', async (t) => {
  const engines = await Promise.all([0, 1].map(() => startEngine(spec, { engine: 'onnxruntime' })));
  const pool = new EnginePool(engines);
  t.after(() => pool.close());
  const conditions: string[] = [];
  pool.watch(({ state }) => conditions.push(state));
  const pixels = randomPixels(1, 32);
  const { logits } = await pool.run(pixels, 1);
  const isDown = new Promise<void>((resolve) =>
    engines[0]?.watch(({ state }) => {
      if (state === 'down') resolve();
    }),
  );
  process.kill(engines[0]?.pid as number, 'SIGKILL');
  await isDown;
  for (let run = 0; run < 20; run++) assert.deepEqual((await pool.run(pixels, 1)).logits, logits);
  assert.deepEqual(conditions, ['up']);
});
