import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { EngineSpec } from '../../src/engines/engine.js';
import { openTfjsOn } from '../../src/engines/tfjs/session.js';
import type { TensorFlow, TfTensor } from '../../src/engines/tfjs/tensorflow.js';
import type { Layer } from '../../src/network/layer.js';

const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-tfjs-'));
after(() => rmSync(folder, { recursive: true }));

/** One pixel to its three channels: what goes in comes out, normalised, and a picture can be told from another. */
const layers: readonly Layer[] = [
  { name: 'flatten', kind: 'flatten' },
  { name: 'fc', kind: 'linear', inFeatures: 3, outFeatures: 3 },
];
const weightsPath = join(folder, 'weights.bin');
writeFileSync(weightsPath, Buffer.from(Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0).buffer));
const spec: EngineSpec = {
  layers,
  inputSize: 1,
  classes: 3,
  mean: [0, 0, 0],
  std: [1, 1, 1],
  tensors: [
    { name: 'fc.weight', shape: [3, 3], path: weightsPath, byteOffset: 0, byteLength: 36 },
    { name: 'fc.bias', shape: [3], path: weightsPath, byteOffset: 36, byteLength: 12 },
  ],
  maxBatchSize: 8,
  threads: 1,
  prepack: false,
  precision: 'fp32',
};
const pixels = Uint8Array.from({ length: 24 }, (_, i) => i * 10);
const expected = [...pixels].map((byte) => Math.fround(byte / 255));

/** As much of TensorFlow as that network takes, with room for so many pictures, and as the case asks, a leak. */
function smallTensorFlow(room: number, { isLeaky = false, message = 'OOM when allocating tensor' } = {}) {
  const alive = new Set<TfTensor>();
  const runs: number[] = [];
  const make = (values: Float32Array, shape: readonly number[]): TfTensor => {
    const tensor = { shape, dataSync: () => values, dispose: () => void alive.delete(tensor) };
    alive.add(tensor);
    return tensor;
  };
  const perChannel = (apply: (a: number, b: number) => number) => (x: TfTensor, y: TfTensor) => {
    const [a, b] = [x.dataSync(), y.dataSync()];
    return make(
      a.map((value, i) => apply(value, b[i % b.length] ?? 0)),
      x.shape,
    );
  };
  const unused = () => {
    throw new Error('this network does not need it');
  };
  const tf: TensorFlow = {
    tensor: (values, shape) => make(Float32Array.from(values), shape),
    tidy(work) {
      const before = new Set(alive);
      let result: unknown;
      try {
        const made = work();
        result = made;
        return made;
      } finally {
        for (const tensor of alive) if (!before.has(tensor) && tensor !== result) tensor.dispose();
        if (isLeaky) make(new Float32Array(1), [1]);
      }
    },
    memory: () => ({ numTensors: alive.size }),
    cast: (x) => make(x.dataSync(), x.shape),
    reshape: (x, shape) => make(x.dataSync(), shape),
    sub: perChannel((a, b) => a - b),
    div: perChannel((a, b) => a / b),
    fused: {
      matMul({ a }) {
        const n = a.shape[0] ?? 0;
        if (n > room) throw new Error(message);
        runs.push(n);
        return make(a.dataSync(), [n, 3]);
      },
      conv2d: unused,
    },
    backend: () => ({ isGPUPackage: true, isUsingGpuDevice: false }),
    version: { 'tfjs-node': '4.22.0' },
    add: unused,
    relu: unused,
    pad: unused,
    maxPool: unused,
    avgPool: unused,
    matMul: unused,
    localResponseNormalization: unused,
  };
  return { tf, runs, alive };
}

test('openTfjsOn: a batch beyond the memory of the device is halved, and the limit is remembered', async () => {
  const { tf, runs } = smallTensorFlow(3);
  const engine = openTfjsOn(tf, spec);
  const { logits } = await engine.run(pixels, 8);
  assert.deepEqual([...logits], expected);
  assert.deepEqual(runs.splice(0), [2, 2, 2, 2]);
  await engine.run(pixels.subarray(0, 15), 5);
  assert.deepEqual(runs, [2, 2, 1]);
});

test('openTfjsOn: one picture beyond the memory of the device fails, and nothing is left behind', async () => {
  const { tf, alive } = smallTensorFlow(0, { message: 'ResourceExhausted: failed to allocate memory' });
  const engine = openTfjsOn(tf, spec);
  const atRest = alive.size;
  await assert.rejects(engine.run(pixels.subarray(0, 3), 1), /failed to allocate/);
  assert.equal(alive.size, atRest);
});

test('openTfjsOn: another failure is not tried in halves', async () => {
  const { tf, runs } = smallTensorFlow(3, { message: 'cuDNN launch failure' });
  await assert.rejects(openTfjsOn(tf, spec).run(pixels, 8), /cuDNN launch failure/);
  assert.deepEqual(runs, []);
});

test('openTfjsOn: a run that leaves tensors behind says so', async () => {
  const engine = openTfjsOn(smallTensorFlow(8, { isLeaky: true }).tf, spec);
  await assert.rejects(engine.run(pixels, 8), /a run has left 1 tensors behind/);
});

test('openTfjsOn: closed, it has given back all that it took', async () => {
  const { tf, alive } = smallTensorFlow(8);
  const engine = openTfjsOn(tf, spec);
  await engine.run(pixels, 8);
  await engine.close();
  assert.equal(alive.size, 0);
});
