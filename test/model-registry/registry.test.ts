import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { EngineSpec } from '../../src/engines/engine.js';
import { readManifest } from '../../src/model-registry/manifest.js';
import { ModelRegistry } from '../../src/model-registry/registry.js';
import { PixelSums, pixelSums } from './pixel-sums.js';
import { smallManifest, temporaryFolder, writeManifest, writeWeights } from './small-model.js';

interface Options {
  /** The JSON of a manifest for each model. */
  readonly manifests?: readonly (typeof smallManifest)[];
  readonly withoutWeights?: boolean;
  /** In place of the engine that sums pixels. */
  readonly startEngine?: (spec: EngineSpec) => Promise<PixelSums>;
}

async function tinyRegistry(t: TestContext, options: Options = {}) {
  const folder = temporaryFolder(t);
  if (!options.withoutWeights) writeWeights(folder);
  const specs: EngineSpec[] = [];
  const engines: PixelSums[] = [];
  const states: string[] = [];
  const registry = new ModelRegistry({
    startEngine: async (spec) => {
      specs.push(spec);
      const engine = options.startEngine ? await options.startEngine(spec) : new PixelSums(spec);
      engines.push(engine);
      return engine;
    },
    limits: { maxBatchSize: 4, maxWaitMs: 0, maxQueue: 64 },
    threads: 2,
    cacheDir: join(folder, 'cache'),
    observer: {
      stateChanged: (model, state, reason) => states.push(`${model} ${state}${reason ? `: ${reason}` : ''}`),
      queueDepth: () => undefined,
      queueWait: () => undefined,
      batch: () => undefined,
      left: () => undefined,
    },
  });
  for (const manifest of options.manifests ?? [smallManifest]) {
    registry.add(await readManifest(writeManifest(folder, manifest)));
  }
  return { registry, folder, specs, engines, states };
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

const picture = new Uint8Array(4 * 4 * 3).map((_, i) => i);

test('load starts an engine with all that the network needs, and the model classifies', async (t) => {
  const { registry, specs, states, folder } = await tinyRegistry(t);
  const model = await registry.load('tiny');
  assert.deepEqual([...(await model.classify(picture)).logits], pixelSums(picture));
  assert.deepEqual(states, ['tiny unloaded', 'tiny loading', 'tiny ready']);
  const [spec] = specs;
  assert.ok(spec);
  const { layers, tensors, ...rest } = spec;
  assert.deepEqual(rest, {
    ...{ inputSize: 4, classes: 4, maxBatchSize: 4, threads: 2 },
    ...{ mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
  });
  assert.deepEqual(
    layers.map(({ name }) => name),
    [
      'features.0',
      'features.1',
      'features.2',
      'avgpool',
      'flatten',
      ...[0, 1, 2, 3, 4, 5, 6].map((i) => `classifier.${i}`),
    ],
  );
  assert.deepEqual(
    tensors.map(({ name, shape }) => [name, ...shape]),
    [
      ['features.0.weight', 2, 3, 3, 3],
      ['features.0.bias', 2],
      ['classifier.0.weight', 3, 2],
      ['classifier.0.bias', 3],
      ['classifier.3.weight', 3, 3],
      ['classifier.3.bias', 3],
      ['classifier.6.weight', 4, 3],
      ['classifier.6.bias', 4],
    ],
  );
  assert.ok(tensors.every(({ path }) => path === join(folder, 'tiny.safetensors')));
});

test('loads of one name at the same time share one load', async (t) => {
  const { registry, engines } = await tinyRegistry(t);
  const [a, b] = await Promise.all([registry.load('tiny'), registry.load('tiny')]);
  assert.equal(a, b);
  assert.equal(await registry.load('tiny'), a);
  assert.equal(engines.length, 1);
});

test('a load without the file of the weights fails, says why, and can be tried again', async (t) => {
  const { registry, states, folder } = await tinyRegistry(t, { withoutWeights: true });
  await assert.rejects(registry.load('tiny'), { name: 'CheckpointError', reason: 'file_not_found' });
  const { state, reason } = registry.describe('tiny');
  assert.equal(state, 'failed');
  assert.match(reason ?? '', /^tiny\.safetensors: /);
  assert.throws(() => registry.get('tiny'), {
    code: 'model_not_ready',
    message: `tiny could not be loaded: ${reason}`,
  });
  assert.ok(states.at(-1)?.startsWith(`tiny failed: ${folder}`), 'the log names the folder, clients do not see it');

  writeWeights(folder);
  assert.equal(await registry.load('tiny'), registry.get('tiny'));
  assert.equal(registry.describe('tiny').reason, null);
});

test('a load whose weights do not fit the network names the tensors', async (t) => {
  const network = { ...smallManifest.network, hidden: 5 };
  const manifest = { ...smallManifest, network, meta: { ...smallManifest.meta, num_params: 125 } };
  const { registry, specs } = await tinyRegistry(t, { manifests: [manifest] });
  await assert.rejects(registry.load('tiny'), /size mismatch for classifier\.0\.weight/);
  assert.deepEqual(specs, []);
});

test('a load whose engine does not start fails, and the next one may succeed', async (t) => {
  let broken = true;
  const startEngine = async (spec: EngineSpec) => {
    if (broken) throw new Error('no engine today');
    return new PixelSums(spec);
  };
  const { registry } = await tinyRegistry(t, { startEngine });
  await assert.rejects(Promise.all([registry.load('tiny'), registry.load('tiny')]), { message: 'no engine today' });
  assert.equal(registry.describe('tiny').reason, 'no engine today');
  broken = false;
  await registry.load('tiny');
  assert.equal(registry.ready, true);
});

test('a load of a file with another sha256 than the manifest says fails with both, and ends the engine', async (t) => {
  const expected = 'ab'.repeat(32);
  const manifest = { ...smallManifest, weights: { ...smallManifest.weights, sha256: expected } };
  const { registry, engines, folder } = await tinyRegistry(t, { manifests: [manifest] });
  const path = join(folder, 'tiny.safetensors');
  await assert.rejects(registry.load('tiny'), {
    message: `${path}: The sha256 is ${sha256(path)}, but the manifest says ${expected}. Get the file again, or correct the manifest.`,
  });
  assert.deepEqual(
    engines.map(({ closed }) => closed),
    [true],
  );
});

test('a load of a file with the sha256 that the manifest says', async (t) => {
  const folder = temporaryFolder(t);
  writeWeights(folder);
  const expected = sha256(join(folder, 'tiny.safetensors'));
  const manifest = { ...smallManifest, weights: { ...smallManifest.weights, sha256: expected } };
  const { registry } = await tinyRegistry(t, { manifests: [manifest] });
  assert.equal((await registry.load('tiny')).sha256, expected);
});

test('get without a name is the first model added', async (t) => {
  const { registry } = await tinyRegistry(t, { manifests: [smallManifest, { ...smallManifest, name: 'other' }] });
  await registry.load('other');
  assert.throws(() => registry.get(), { code: 'model_not_ready', message: 'tiny is not loaded.' });
  assert.equal(registry.get('other').name, 'other');
  assert.equal(await registry.load('tiny'), registry.get());
});

for (const name of ['nowhere', '__proto__', 'constructor']) {
  test(`get of the unknown model ${name} lists the names`, async (t) => {
    const { registry } = await tinyRegistry(t, { manifests: [smallManifest, { ...smallManifest, name: 'other' }] });
    const error = { code: 'unknown_model', message: `There is no model '${name}'. The models are: tiny, other.` };
    assert.throws(() => registry.get(name), error);
    assert.throws(() => registry.describe(name), error);
    await assert.rejects(registry.load(name), error);
    await assert.rejects(registry.unload(name), error);
  });
}

test('get while there is no model at all', async (t) => {
  const { registry } = await tinyRegistry(t, { manifests: [] });
  assert.throws(() => registry.get(), { code: 'unknown_model', message: 'There is no model. The models are: none.' });
  assert.equal(registry.ready, false);
});

test('get of a model that is still loading', async (t) => {
  const { registry } = await tinyRegistry(t);
  const loading = registry.load('tiny');
  assert.throws(() => registry.get('tiny'), {
    code: 'model_not_ready',
    message: 'tiny is still loading. Try again soon.',
  });
  assert.equal(registry.describe('tiny').state, 'loading');
  await loading;
});

test('add of a second model of the same name', async (t) => {
  await assert.rejects(tinyRegistry(t, { manifests: [smallManifest, smallManifest] }), {
    message: 'There are two models called tiny: give one another name.',
  });
});

test('ready as soon as all models are', async (t) => {
  const { registry } = await tinyRegistry(t, { manifests: [smallManifest, { ...smallManifest, name: 'other' }] });
  await registry.load('tiny');
  assert.equal(registry.ready, false);
  await registry.load('other');
  assert.equal(registry.ready, true);
});

test('unload answers the pictures that wait, then ends the engine', async (t) => {
  const { registry, engines, states } = await tinyRegistry(t);
  const model = await registry.load('tiny');
  const [engine] = engines;
  assert.ok(engine);
  let open = () => {};
  engine.gate = new Promise((resolve) => {
    open = resolve;
  });
  const answers = Array.from({ length: 6 }, () => model.classify(picture));
  const unloading = registry.unload('tiny');
  await new Promise((resolve) => setImmediate(resolve));
  assert.throws(() => registry.get('tiny'), { code: 'model_not_ready', message: 'tiny is not loaded.' });
  assert.equal(engine.closed, false);
  open();
  await unloading;
  assert.equal(engine.closed, true);
  assert.equal((await Promise.all(answers)).length, 6);
  assert.deepEqual(engine.batchSizes, [4, 2]);
  assert.deepEqual(states.at(-1), 'tiny unloaded');
});

test('load during an unload starts the new engine after the old one has ended', async (t) => {
  const { registry, engines } = await tinyRegistry(t, {
    manifests: [smallManifest, { ...smallManifest, name: 'other' }],
  });
  const old = await registry.load('tiny');
  const [oldEngine] = engines;
  assert.ok(oldEngine);
  let open = () => {};
  oldEngine.gate = new Promise((resolve) => {
    open = resolve;
  });
  const answer = old.classify(picture);
  const unloading = registry.unload('tiny');
  const loading = registry.load('tiny');
  await registry.load('other'); // takes as long as the other load would, if that did not wait
  assert.equal(engines.length, 2);
  open();
  await answer;
  await unloading;
  assert.equal(await loading, registry.get('tiny'));
  assert.equal(engines.length, 3);
});

test('unload during a load ends the engine once it is there', async (t) => {
  const { registry, engines, states } = await tinyRegistry(t);
  const loading = registry.load('tiny');
  await Promise.all([registry.unload('tiny'), registry.unload('tiny')]);
  await loading;
  assert.equal(engines[0]?.closed, true);
  assert.deepEqual(states, ['tiny unloaded', 'tiny loading', 'tiny ready', 'tiny unloaded']);
});

test('unload of a model that failed forgets the reason; of one that is not loaded it does nothing', async (t) => {
  const { registry, states } = await tinyRegistry(t, { withoutWeights: true });
  await registry.unload('tiny');
  assert.deepEqual(states, ['tiny unloaded']);
  await assert.rejects(registry.load('tiny'));
  await registry.unload('tiny');
  const { state, reason } = registry.describe('tiny');
  assert.deepEqual([state, reason], ['unloaded', null]);
});

test('close unloads every model, also one that is loading, and refuses new loads', async (t) => {
  const { registry, engines } = await tinyRegistry(t, {
    manifests: [smallManifest, { ...smallManifest, name: 'other' }],
  });
  await registry.load('tiny');
  const loading = registry.load('other');
  await registry.close();
  await loading;
  assert.deepEqual(
    engines.map(({ closed }) => closed),
    [true, true],
  );
  await assert.rejects(registry.load('tiny'), { code: 'shutting_down' });
  assert.equal(registry.ready, false);
});

test('list before and after loading', async (t) => {
  const { registry, folder } = await tinyRegistry(t);
  const known = {
    name: 'tiny',
    weights: 'TINY_V1',
    reason: null,
    num_params: 93,
    'acc@1': 94.5,
    'acc@5': 100,
    classes: 4,
    input_size: 4,
    transforms: { resize: 6, crop: 4, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
    file: 'tiny.safetensors',
    recipe: 'training/train.py',
    dataset: 'Tiny',
  };
  assert.deepEqual(registry.list(), [
    {
      ...known,
      ...{ state: 'unloaded', engine: null, engine_version: null, device: null, precision: null, threads: null },
      sha256: null,
    },
  ]);
  await registry.load('tiny');
  assert.deepEqual(registry.list(), [
    {
      ...known,
      ...{
        state: 'ready',
        engine: 'onnxruntime',
        engine_version: '1.2.3',
        device: 'cpu',
        precision: 'fp32',
        threads: 2,
      },
      sha256: sha256(join(folder, 'tiny.safetensors')),
    },
  ]);
});

test('list of a manifest without meta shows null, and the parameters as counted', async (t) => {
  const { meta: _, ...bare } = smallManifest;
  const { registry } = await tinyRegistry(t, { manifests: [bare as typeof smallManifest] });
  const [summary] = registry.list();
  assert.ok(summary);
  assert.deepEqual(
    [summary.num_params, summary['acc@1'], summary['acc@5'], summary.recipe, summary.dataset],
    [93, null, null, null, null],
  );
});

test('describe adds the categories, the layers and what PyTorch prints', async (t) => {
  const { registry } = await tinyRegistry(t);
  const { categories, layers, printed, multiply_adds, ...summary } = registry.describe('tiny');
  assert.deepEqual(summary, registry.list()[0]);
  assert.deepEqual(categories, ['red', 'green', 'blue', 'first']);
  assert.equal(multiply_adds, 2 * 27 * 16 + 2 * 3 + 3 * 3 + 3 * 4);
  assert.deepEqual(layers.slice(0, 6), [
    { name: 'features.0', kind: 'conv', output_shape: [2, 4, 4], parameters: 56 },
    { name: 'features.1', kind: 'relu', output_shape: [2, 4, 4], parameters: 0 },
    { name: 'features.2', kind: 'maxpool', output_shape: [2, 2, 2], parameters: 0 },
    { name: 'avgpool', kind: 'avgpool', output_shape: [2, 1, 1], parameters: 0 },
    { name: 'flatten', kind: 'flatten', output_shape: [2], parameters: 0 },
    { name: 'classifier.0', kind: 'linear', output_shape: [3], parameters: 9 },
  ]);
  assert.equal(
    layers.reduce((total, { parameters }) => total + parameters, 0),
    93,
  );
  assert.match(printed, /^VGG\(\n {2}\(features\): Sequential\(/);
});
