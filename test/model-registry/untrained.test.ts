import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { buildArchitecture } from '../../src/model-registry/architecture.js';
import { initialTensors, untrainedWeights } from '../../src/model-registry/untrained.js';
import type { Layered } from '../../src/network/layer.js';
import { elementCount } from '../../src/tensor.js';
import { builderOptions, buildNetwork } from '../../src/vgg/network.js';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { temporaryFolder } from './small-model.js';

const network = buildNetwork({ cfg: [32, 'M', 64], batchNorm: true, pool: [2, 2], hidden: 128, classes: 7 });

/** Every tensor of a file that is written for a network. */
async function written(path: string): Promise<Map<string, Float32Array>> {
  const { tensors } = await readCheckpoint(path);
  const bytes = new Uint8Array(readFileSync(path));
  return new Map(
    tensors.map(({ name, byteOffset, byteLength }) => [
      name,
      new Float32Array(bytes.slice(byteOffset, byteOffset + byteLength).buffer),
    ]),
  );
}

async function draw(t: TestContext, layered: Layered, linear: 'normal' | 'torch', seed = 0) {
  return await written(await untrainedWeights(layered, { linear, seed, cacheDir: join(temporaryFolder(t), 'cache') }));
}

/** Mean 0 and this standard deviation, as far as so many numbers tell: five standard errors. */
function assertSpread(tensors: ReadonlyMap<string, Float32Array>, name: string, expected: number): void {
  const values = tensors.get(name);
  assert.ok(values, name);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const std = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  assert.ok(Math.abs(mean) < (5 * expected) / Math.sqrt(values.length), `${name}: mean ${mean}`);
  assert.ok(Math.abs(std / expected - 1) < 5 / Math.sqrt(2 * values.length), `${name}: std ${std}, not ${expected}`);
}

function assertConstant(tensors: ReadonlyMap<string, Float32Array>, name: string, expected: number): void {
  const values = tensors.get(name);
  assert.ok(values && values.length > 0, name);
  assert.ok(
    values.every((value) => value === expected),
    name,
  );
}

test("a VGG without weights has torchvision's initial values", async (t) => {
  const tensors = await draw(t, network, 'normal');
  assertSpread(tensors, 'features.0.weight', Math.sqrt(2 / (32 * 9)));
  assertSpread(tensors, 'features.4.weight', Math.sqrt(2 / (64 * 9)));
  for (const layer of ['features.1', 'features.5']) {
    for (const one of ['weight', 'running_var']) assertConstant(tensors, `${layer}.${one}`, 1);
    for (const zero of ['bias', 'running_mean']) assertConstant(tensors, `${layer}.${zero}`, 0);
  }
  for (const layer of ['classifier.0', 'classifier.3', 'classifier.6']) assertSpread(tensors, `${layer}.weight`, 0.01);
  for (const layer of ['features.0', 'features.4', 'classifier.0', 'classifier.3', 'classifier.6']) {
    assertConstant(tensors, `${layer}.bias`, 0);
  }
});

test('linear layers as torch has them: uniform within 1/sqrt of their inputs, the bias too', async (t) => {
  const tensors = await draw(t, network, 'torch');
  const bound = 1 / Math.sqrt(256);
  assertSpread(tensors, 'classifier.0.weight', bound / Math.sqrt(3));
  for (const part of ['weight', 'bias']) {
    const values = tensors.get(`classifier.0.${part}`);
    assert.ok(values?.every((value) => Math.abs(value) <= bound));
    assert.ok(values?.some((value) => Math.abs(value) > 0.95 * bound));
  }
  assertSpread(tensors, 'features.0.weight', Math.sqrt(2 / (32 * 9)));
});

test('every builder has a distribution for each of its weights', () => {
  const vgg = initialTensors(buildNetwork(builderOptions('vgg19_bn')), 'normal');
  assert.equal(vgg.length, 16 * 6 + 6);
  const resnet = initialTensors(buildArchitecture({ builder: 'resnet50', classes: 1000 }), 'torch');
  const byName = new Map(resnet.map(({ name, distribution }) => [name, distribution]));
  assert.deepEqual(byName.get('conv1.weight'), { kind: 'normal', std: Math.sqrt(2 / (64 * 49)) });
  assert.deepEqual(byName.get('layer4.0.downsample.0.weight'), { kind: 'normal', std: Math.sqrt(2 / 2048) });
  assert.deepEqual(byName.get('layer1.0.bn3.weight'), { kind: 'constant', value: 1 });
  assert.deepEqual(byName.get('fc.bias'), { kind: 'uniform', bound: 1 / Math.sqrt(2048) });
  // 53 convolutions without a bias, batch norm after each, and the head.
  assert.equal(resnet.length, 53 + 53 * 4 + 2);
});

test('two starts give the same bytes, another seed others', async (t) => {
  const write = (seed: number) =>
    untrainedWeights(network, { linear: 'normal', seed, cacheDir: join(temporaryFolder(t), 'cache') });
  const [first, second, other] = [await write(0), await write(0), await write(1)];
  assert.notEqual(first, second);
  assert.deepEqual(readFileSync(first), readFileSync(second));
  assert.notDeepEqual(readFileSync(first), readFileSync(other));
});

test('a tensor of more than one block: no block repeats another', async (t) => {
  const wide = buildNetwork({ cfg: [1], batchNorm: false, pool: [16, 16], hidden: 2100, classes: 1 });
  const tensors = await draw(t, wide, 'normal');
  const values = tensors.get('classifier.0.weight');
  assert.equal(values?.length, 2100 * 256);
  assert.equal(elementCount([2100, 256]) > 2 ** 19, true);
  assert.notDeepEqual(values.slice(0, 1000), values.slice(2 ** 18, 2 ** 18 + 1000));
  assertSpread(tensors, 'classifier.0.weight', 0.01);
});

test('a file that is there already is used again, and one that is damaged is written anew', async (t) => {
  const cacheDir = join(temporaryFolder(t), 'cache');
  const options = { linear: 'normal', seed: 0, cacheDir } as const;
  const path = await untrainedWeights(network, options);
  const before = statSync(path, { bigint: true });
  const bytes = readFileSync(path);
  assert.equal(await untrainedWeights(network, options), path);
  assert.equal(statSync(path, { bigint: true }).ino, before.ino);

  truncateSync(path, bytes.length - 4);
  assert.equal(await untrainedWeights(network, options), path);
  assert.deepEqual(readFileSync(path), bytes);
  assert.deepEqual(readdirSync(cacheDir).length, 1);
});

test('each network and seed has a file of its own', async (t) => {
  const cacheDir = temporaryFolder(t);
  const other = buildNetwork({ cfg: [32, 'M', 64], batchNorm: true, pool: [2, 2], hidden: 128, classes: 8 });
  const paths = [
    await untrainedWeights(network, { linear: 'normal', seed: 0, cacheDir }),
    await untrainedWeights(network, { linear: 'normal', seed: 1, cacheDir }),
    await untrainedWeights(network, { linear: 'torch', seed: 0, cacheDir }),
    await untrainedWeights(other, { linear: 'normal', seed: 0, cacheDir }),
  ];
  assert.equal(new Set(paths).size, 4);
});

test('an abort ends the writing and leaves no file', async (t) => {
  const cacheDir = join(temporaryFolder(t), 'cache');
  const signal = AbortSignal.abort(new Error('enough'));
  const writing = untrainedWeights(network, { linear: 'normal', seed: 0, cacheDir, signal });
  await assert.rejects(writing, { message: 'enough' });
  assert.deepEqual(readdirSync(cacheDir), []);
});
