import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { EngineSpec, IsaChoice, Precision } from '../../src/engines/engine.js';
import { stampOf } from '../../src/engines/file-stamp.js';
import { readManifest } from '../../src/model-registry/manifest.js';
import type { LoadTimes } from '../../src/model-registry/observer.js';
import { ModelRegistry } from '../../src/model-registry/registry.js';
import { PixelSums, pixelSums } from './pixel-sums.js';
import { smallManifest, temporaryFolder, writeManifest, writeWeights } from './small-model.js';

interface Options {
  /** The JSON of a manifest for each model. */
  readonly manifests?: readonly (typeof smallManifest)[];
  readonly withoutWeights?: boolean;
  readonly prepack?: boolean;
  readonly precision?: Precision;
  readonly isa?: IsaChoice;
  /** In place of the engine that sums pixels. */
  readonly startEngine?: (spec: EngineSpec, signal: AbortSignal) => Promise<PixelSums>;
}

async function tinyRegistry(t: TestContext, options: Options = {}) {
  const folder = temporaryFolder(t);
  if (!options.withoutWeights) writeWeights(folder);
  const specs: EngineSpec[] = [];
  const engines: PixelSums[] = [];
  const states: string[] = [];
  const steps: string[] = [];
  const loads: { model: string; engine: string; times: LoadTimes }[] = [];
  const registry = new ModelRegistry({
    startEngine: async (spec, { signal }) => {
      specs.push(spec);
      const engine = options.startEngine ? await options.startEngine(spec, signal) : new PixelSums(spec);
      engines.push(engine);
      return engine;
    },
    limits: { maxBatchSize: 4, maxWaitMs: 0, maxQueue: 64 },
    threads: 2,
    ...(options.prepack !== undefined && { prepack: options.prepack }),
    ...(options.precision && { precision: options.precision }),
    ...(options.isa && { isa: options.isa }),
    cacheDir: join(folder, 'cache'),
    observer: {
      stateChanged: (model, state, error) => states.push(`${model} ${state}${error ? `: ${messageOf(error)}` : ''}`),
      loadProgress: (model, { step }) => steps.push(`${model} ${step}`),
      loaded: (model, { engine }, times) => loads.push({ model, engine, times }),
      queueDepth: () => undefined,
      queueWait: () => undefined,
      batch: () => undefined,
    },
  });
  for (const manifest of options.manifests ?? [smallManifest]) {
    registry.add(await readManifest(writeManifest(folder, manifest)));
  }
  return { registry, folder, specs, engines, states, steps, loads };
}

function messageOf(error: unknown): string {
  return (error as Error).message;
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
  const { layers, tensors, files, ...rest } = spec;
  assert.deepEqual(rest, {
    ...{ inputSize: 4, classes: 4, maxBatchSize: 4, threads: 2, prepack: false },
    ...{ mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], precision: 'fp32', isa: 'auto' },
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
  const path = join(folder, 'tiny.safetensors');
  assert.ok(tensors.every((tensor) => tensor.path === path));
  assert.deepEqual(files, [await stampOf(path)]);
});

test('load asks for the precision of the manifest, else for that of the service, and for the instruction set', async (t) => {
  const own = { ...smallManifest, name: 'own', precision: 'bf16-classifier' } as typeof smallManifest;
  const { registry, specs } = await tinyRegistry(t, {
    manifests: [smallManifest, own],
    precision: 'bf16',
    isa: 'avx512bf16',
  });
  await registry.loadAll();
  assert.deepEqual(
    specs.map(({ precision, isa }) => [precision, isa]),
    [
      ['bf16', 'avx512bf16'],
      ['bf16-classifier', 'avx512bf16'],
    ],
  );
  assert.deepEqual(
    registry.list().map(({ name, precision }) => [name, precision]),
    [
      ['tiny', 'bf16'],
      ['own', 'bf16-classifier'],
    ],
  );
});

test('a client may insist on a precision behind the name, and gets the model only if it is computed in that', async (t) => {
  const { registry, folder } = await tinyRegistry(t);
  const manifest = await readManifest(writeManifest(folder));
  registry.add({ ...manifest, name: 'tiny@bf16', precision: 'bf16' });
  await registry.loadAll();
  assert.equal(registry.get('tiny').name, 'tiny');
  assert.equal(registry.get('tiny@fp32').name, 'tiny');
  assert.equal(registry.get('tiny@bf16').name, 'tiny@bf16');
  assert.equal(registry.describe('tiny@fp32').precision, 'fp32');
  for (const name of ['tiny@bf16-classifier', 'tiny@', 'tiny@fp', '@fp32', 'tiny@fp32@fp32', 'nobody@fp32']) {
    assert.throws(() => registry.get(name), { code: 'unknown_model' }, name);
  }
});

test('load passes on whether the engine may prepack', async (t) => {
  const { registry, specs } = await tinyRegistry(t, { prepack: true });
  await registry.load('tiny');
  assert.equal(specs[0]?.prepack, true);
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
    name: 'DuplicateModelError',
    message: 'two models are called tiny: leave one out, or give it another name in its manifest',
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

/** An engine that starts when it is told to, or ends its start when it is told so by the signal. */
function heldStart() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let began = () => {};
  const begun = new Promise<void>((resolve) => {
    began = resolve;
  });
  const startEngine = async (spec: EngineSpec, signal: AbortSignal) => {
    began();
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new Error('closed while it was starting')));
    });
    await Promise.race([opened, aborted]);
    return new PixelSums(spec);
  };
  return { startEngine, begun, open };
}

const unloadedEarly = { code: 'model_not_ready', message: 'tiny was unloaded before it was ready.' };

test('unload during the start of an engine gives that up, and does not wait for it', async (t) => {
  const { startEngine, begun } = heldStart();
  const { registry, states } = await tinyRegistry(t, { startEngine });
  const loads = [registry.load('tiny'), registry.load('tiny')];
  const rejected = loads.map((loading) => assert.rejects(loading, unloadedEarly));
  await begun;
  await Promise.all([registry.unload('tiny'), registry.unload('tiny'), ...rejected]);
  assert.deepEqual(states, ['tiny unloaded', 'tiny loading', 'tiny unloaded']);
});

test('unload during a load whose engine starts nevertheless ends that engine', async (t) => {
  const startEngine = async (spec: EngineSpec) => new PixelSums(spec);
  const { registry, engines, states } = await tinyRegistry(t, { startEngine });
  const rejected = assert.rejects(registry.load('tiny'), unloadedEarly);
  while (engines.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const unloading = registry.unload('tiny');
  await Promise.all([unloading, rejected]);
  assert.equal(engines[0]?.closed, true);
  assert.equal(states.at(-1), 'tiny unloaded');
});

test('load after an unload that gave a load up starts anew, and the old load changes nothing', async (t) => {
  const first = heldStart();
  let starts = 0;
  const startEngine = (spec: EngineSpec, signal: AbortSignal) =>
    starts++ === 0 ? first.startEngine(spec, signal) : Promise.resolve(new PixelSums(spec));
  const { registry, states } = await tinyRegistry(t, { startEngine });
  const rejected = assert.rejects(registry.load('tiny'), unloadedEarly);
  await first.begun;
  const unloading = registry.unload('tiny');
  const model = await registry.load('tiny');
  await Promise.all([unloading, rejected]);
  assert.equal(registry.get('tiny'), model);
  assert.deepEqual(states, ['tiny unloaded', 'tiny loading', 'tiny unloaded', 'tiny loading', 'tiny ready']);
});

test('a load reports its steps, shows them while it lasts, and at its end the time of each part', async (t) => {
  const { startEngine, begun, open } = heldStart();
  const { registry, steps, loads } = await tinyRegistry(t, { startEngine });
  const loading = registry.load('tiny');
  assert.deepEqual(registry.summary('tiny').progress, { step: 'checking', received_bytes: null, total_bytes: null });
  await begun;
  assert.deepEqual(registry.summary('tiny').progress, { step: 'starting', received_bytes: null, total_bytes: null });
  open();
  await loading;
  assert.equal(registry.summary('tiny').progress, null);
  assert.deepEqual(steps.slice(-2), ['tiny checking', 'tiny starting']);
  const [load] = loads;
  assert.ok(load);
  assert.deepEqual([loads.length, load.model, load.engine], [1, 'tiny', 'onnxruntime']);
  const { locate, index, convert, engineStart, warmUp, hash, total } = load.times;
  assert.equal(warmUp, undefined);
  for (const ms of [locate, index, convert, engineStart, hash]) assert.ok(ms >= 0 && ms <= total, String(ms));
});

test('loadAll loads one after the other, and one that fails leaves the others', async (t) => {
  const { registry, states } = await tinyRegistry(t, {
    manifests: ['one', 'two', 'three'].map((name) => ({ ...smallManifest, name })),
    startEngine: async (spec) => {
      starting.push(registry.list().map(({ state }) => state));
      if (starting.length === 2) throw new Error('no memory left');
      return new PixelSums(spec);
    },
  });
  const starting: string[][] = [];
  await registry.loadAll();
  assert.deepEqual(starting, [
    ['loading', 'unloaded', 'unloaded'],
    ['ready', 'loading', 'unloaded'],
    ['ready', 'failed', 'loading'],
  ]);
  assert.ok(states.includes('two failed: no memory left'));
  assert.equal(registry.ready, false);
});

test('loadAll leaves out what was unloaded before its turn', async (t) => {
  const { registry } = await tinyRegistry(t, { manifests: [smallManifest, { ...smallManifest, name: 'other' }] });
  const loading = registry.loadAll();
  await registry.unload('other');
  await loading;
  assert.deepEqual(
    registry.list().map(({ state }) => state),
    ['ready', 'unloaded'],
  );
});

test('stopLoading gives up a load, begins no other, and leaves what is ready', async (t) => {
  const { startEngine, begun } = heldStart();
  const { registry, states } = await tinyRegistry(t, {
    manifests: ['one', 'two', 'three'].map((name) => ({ ...smallManifest, name })),
    startEngine: async (spec, signal) => (starts++ === 0 ? new PixelSums(spec) : await startEngine(spec, signal)),
  });
  let starts = 0;
  const loading = registry.loadAll();
  await begun;
  registry.stopLoading();
  await loading;
  assert.equal((await registry.get('one').classify(picture)).batchSize, 1);
  assert.deepEqual(states.slice(3), ['one loading', 'one ready', 'two loading']);
  await assert.rejects(registry.load('three'), { code: 'shutting_down' });
  await registry.close();
  assert.deepEqual(states.slice(6), ['one unloaded', 'two unloaded']);
});

test('ready does not wait for what was unloaded on request, but for at least one model', async (t) => {
  const { registry } = await tinyRegistry(t, { manifests: [smallManifest, { ...smallManifest, name: 'other' }] });
  await registry.loadAll();
  await registry.unload('other');
  assert.equal(registry.ready, true);
  await registry.unload('tiny');
  assert.equal(registry.ready, false);
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

test('close unloads every model, gives up one that is loading, and refuses new loads', async (t) => {
  const { startEngine, begun } = heldStart();
  const { registry, engines } = await tinyRegistry(t, {
    manifests: [smallManifest, { ...smallManifest, name: 'other' }],
    startEngine: async (spec, signal) => (starts++ === 0 ? new PixelSums(spec) : await startEngine(spec, signal)),
  });
  let starts = 0;
  await registry.load('tiny');
  const loading = assert.rejects(registry.load('other'), { code: 'shutting_down' });
  await begun;
  await registry.close();
  await loading;
  assert.deepEqual(
    engines.map(({ closed }) => closed),
    [true],
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
    progress: null,
    num_params: 93,
    'acc@1': 94.5,
    'acc@5': 100,
    classes: 4,
    input_size: 4,
    transforms: { resize: 6, crop: 4, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
    untrained: false,
    agreement: null,
    file: 'tiny.safetensors',
    recipe: 'training/train.py',
    dataset: 'Tiny',
  };
  assert.deepEqual(registry.list(), [
    {
      ...known,
      ...{
        state: 'unloaded',
        engine: null,
        engine_version: null,
        device: null,
        device_name: null,
        device_memory_mb: null,
        precision: 'fp32',
        isa: null,
        threads: null,
      },
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
        device_name: null,
        device_memory_mb: null,
        precision: 'fp32',
        isa: null,
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
  const { categories, layers, plan, printed, multiply_adds, ...summary } = registry.describe('tiny');
  assert.deepEqual(summary, registry.list()[0]);
  assert.deepEqual([categories, plan], [['red', 'green', 'blue', 'first'], null]);
  assert.equal(multiply_adds, 2 * 27 * 16 + 2 * 3 + 3 * 3 + 3 * 4);
  assert.deepEqual(layers.slice(0, 6), [
    { name: 'features.0', kind: 'conv', output_shape: [2, 4, 4], parameters: 56, multiply_adds: 864 },
    { name: 'features.1', kind: 'relu', output_shape: [2, 4, 4], parameters: 0, multiply_adds: 0 },
    { name: 'features.2', kind: 'maxpool', output_shape: [2, 2, 2], parameters: 0, multiply_adds: 0 },
    { name: 'avgpool', kind: 'avgpool', output_shape: [2, 1, 1], parameters: 0, multiply_adds: 0 },
    { name: 'flatten', kind: 'flatten', output_shape: [2], parameters: 0, multiply_adds: 0 },
    { name: 'classifier.0', kind: 'linear', output_shape: [3], parameters: 9, multiply_adds: 6 },
  ]);
  assert.equal(
    layers.reduce((total, { parameters }) => total + parameters, 0),
    93,
  );
  assert.match(printed, /^VGG\(\n {2}\(features\): Sequential\(/);
});
