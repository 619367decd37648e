import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { EngineSpec, Precision } from '../../src/engines/engine.js';
import { type CompareDeps, loadModel } from '../../src/model-registry/load.js';
import type { FetchWeights } from '../../src/model-registry/locate.js';
import { type Manifest, readManifest } from '../../src/model-registry/manifest.js';
import type { LoadProgress } from '../../src/model-registry/observer.js';
import { ModelRegistry } from '../../src/model-registry/registry.js';
import { defaultEntry } from '../../src/weights/catalogue.js';
import { PixelSums } from './pixel-sums.js';
import { smallManifest, temporaryFolder, writeManifest, writeWeights } from './small-model.js';

interface Options {
  readonly source?: Manifest['source'];
  readonly fetchWeights?: FetchWeights;
  readonly precision?: Precision;
  readonly compare?: CompareDeps;
}

/** A load of the tiny network, with its weights from anywhere. */
async function load(t: TestContext, folder: string, { source, ...deps }: Options) {
  const manifest = await readManifest(writeManifest(folder));
  const engines: PixelSums[] = [];
  const progress: LoadProgress[] = [];
  const loading = loadModel(
    source === undefined ? manifest : { ...manifest, source },
    {
      startEngine: async (spec) => {
        engines.push(new PixelSums(spec));
        return engines.at(-1) as PixelSums;
      },
      limits: { maxBatchSize: 1, maxWaitMs: 0, maxQueue: 1 },
      threads: 1,
      cacheDir: join(folder, 'cache'),
      ...deps,
    },
    { signal: AbortSignal.timeout(60_000), report: (step) => progress.push(step) },
  );
  t.after(async () => (await loading.catch(() => undefined))?.model.close());
  return { loading, engines, progress };
}

/** A catalogue entry whose file is called after this hash. */
function hubSource(sha256: string) {
  const url = `https://example.com/tiny-${sha256.slice(0, 8)}.pth`;
  return { kind: 'hub', entry: { ...defaultEntry('vgg16'), url } } as const;
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

test('a catalogue entry is loaded from where fetchWeights says that it is, and its bytes are counted', async (t) => {
  const folder = temporaryFolder(t);
  writeWeights(folder);
  const path = join(folder, 'tiny.safetensors');
  const source = hubSource(sha256(path));
  const { loading, progress } = await load(t, folder, {
    source,
    fetchWeights: async (entry, { report }) => {
      assert.equal(entry, source.entry);
      report({ step: 'fetching', receivedBytes: 5, totalBytes: 10 });
      return path;
    },
  });
  const { model } = await loading;
  assert.equal(model.sha256, sha256(path));
  assert.deepEqual(progress, [
    { step: 'fetching', receivedBytes: 5, totalBytes: 10 },
    { step: 'checking' },
    { step: 'starting' },
  ]);
});

test('a file of the catalogue with another hash than its name says is refused, and its engine ended', async (t) => {
  const folder = temporaryFolder(t);
  writeWeights(folder);
  const path = join(folder, 'tiny.safetensors');
  const { loading, engines } = await load(t, folder, {
    source: hubSource('0123abcd'),
    fetchWeights: async () => path,
  });
  await assert.rejects(loading, {
    message:
      `${path}: The sha256 is ${sha256(path)}, but by the file's name it begins with 0123abcd. ` +
      'Delete the file, so that it is fetched again.',
  });
  assert.deepEqual(
    engines.map(({ closed }) => closed),
    [true],
  );
});

test('what fetchWeights fails with is what the load fails with', async (t) => {
  const { loading, engines } = await load(t, temporaryFolder(t), {
    source: hubSource('0123abcd'),
    fetchWeights: async () => {
      throw new Error('no way to the server');
    },
  });
  await assert.rejects(loading, { message: 'no way to the server' });
  assert.equal(engines.length, 0);
});

test('clients see what became of a catalogue file, but not where the server keeps it', async (t) => {
  const folder = temporaryFolder(t);
  const registry = new ModelRegistry({
    startEngine: async (spec) => new PixelSums(spec),
    limits: { maxBatchSize: 1, maxWaitMs: 0, maxQueue: 1 },
    threads: 1,
    cacheDir: folder,
    fetchWeights: async () => {
      throw new Error(`/var/cache/checkpoints/tiny-0123abcd.pth is cut. See https://example.com/a/b for /srv/mirror.`);
    },
  });
  registry.add({ ...(await readManifest(writeManifest(folder))), source: hubSource('0123abcd') });
  await assert.rejects(registry.load('tiny'), /^Error: \/var\/cache/);
  const { reason, file, untrained } = registry.describe('tiny');
  assert.equal(reason, 'tiny-0123abcd.pth is cut. See https://example.com/a/b for mirror.');
  assert.deepEqual([file, untrained], ['tiny-0123abcd.pth', false]);
});

test('a model without weights is drawn into the cache folder once, and marked', async (t) => {
  const folder = temporaryFolder(t);
  const source = { kind: 'untrained', seed: 0 } as const;
  const first = await load(t, folder, { source });
  const { model } = await first.loading;
  const [file = ''] = readdirSync(join(folder, 'cache'));
  assert.match(file, /^untrained-[0-9a-f]{16}\.safetensors$/);
  assert.equal(model.sha256, sha256(join(folder, 'cache', file)));
  assert.deepEqual(
    first.progress.map(({ step }) => step),
    ['fetching', 'checking', 'starting'],
  );

  const second = await load(t, folder, { source });
  assert.equal((await second.loading).model.sha256, model.sha256);
  assert.equal(readdirSync(join(folder, 'cache')).length, 1);
});

test('weights whose last bias is NaN are refused before an engine starts', async (t) => {
  const folder = temporaryFolder(t);
  writeWeights(folder);
  const path = join(folder, smallManifest.weights.file);
  const bytes = readFileSync(path);
  // The last four numbers are classifier.6.bias.
  bytes.writeFloatLE(Number.NaN, bytes.length - 4);
  writeFileSync(path, bytes);
  const { loading, engines } = await load(t, folder, {});
  await assert.rejects(loading, {
    message:
      `${path}: classifier.6.bias holds NaN, so no picture can be classified: this is a feature extractor without a ` +
      'trained classifier, as IMAGENET1K_FEATURES is. Take weights that were trained to classify.',
  });
  assert.equal(engines.length, 0);
  assert.equal(existsSync(join(folder, 'cache')), false);
});

test('a NaN elsewhere is no reason to refuse', async (t) => {
  const folder = temporaryFolder(t);
  writeWeights(folder);
  const path = join(folder, smallManifest.weights.file);
  const bytes = readFileSync(path);
  // The number before the bias: the last of classifier.6.weight.
  bytes.writeFloatLE(Number.NaN, bytes.length - 20);
  writeFileSync(path, bytes);
  const { loading } = await load(t, folder, {});
  assert.equal((await loading).model.sha256, sha256(path));
});

/** The logits of another precision: all are the sums, the first class's a tenth higher. */
class Rounded extends PixelSums {
  override async run(pixels: Uint8Array, n: number) {
    const { logits, computeMs } = await super.run(pixels, n);
    return { logits: logits.map((value, at) => (at % 4 === 0 ? value * 1.1 : value)), computeMs };
  }
}

const size = 4 * 4 * 3;
/** The likeliest class is the first in fp32 and rounded; the third in fp32 and the first rounded; the same again. */
const pictures = [
  [200, 0, 0],
  [190, 0, 200],
  [0, 250, 0],
].map((rgb) => Uint8Array.from({ length: size }, (_, at) => rgb[at % 3] as number));

function comparing(events: string[], change: Partial<CompareDeps> = {}) {
  const references: EngineSpec[] = [];
  const compare: CompareDeps = {
    samples: async ({ name }) => {
      events.push(`samples of ${name}`);
      return { from: 'here', pictures, skipped: 2 };
    },
    startReference: async (spec) => {
      references.push(spec);
      const engine = new PixelSums(spec);
      const close = engine.close.bind(engine);
      engine.close = async () => {
        events.push('reference closed');
        await close();
      };
      return engine;
    },
    ...change,
  };
  return { compare, references };
}

async function loadRounded(t: TestContext, events: string[], compare: CompareDeps) {
  const folder = temporaryFolder(t);
  writeWeights(folder);
  const manifest = await readManifest(writeManifest(folder));
  const loading = loadModel(
    manifest,
    {
      startEngine: async (spec) => {
        events.push(`started in ${spec.precision}`);
        return new Rounded(spec);
      },
      limits: { maxBatchSize: 2, maxWaitMs: 0, maxQueue: 1 },
      threads: 1,
      precision: 'bf16',
      cacheDir: join(folder, 'cache'),
      compare,
    },
    { signal: AbortSignal.timeout(60_000), report: ({ step }) => events.push(step) },
  );
  t.after(async () => (await loading.catch(() => undefined))?.model.close());
  return await loading;
}

test('a model of another precision is compared with fp32, whose engine ends before its own starts', async (t) => {
  const events: string[] = [];
  const { compare, references } = comparing(events);
  const { model, agreement, times } = await loadRounded(t, events, compare);
  assert.deepEqual(events, [
    'checking',
    'comparing',
    'samples of tiny',
    'reference closed',
    'starting',
    'started in bf16',
  ]);
  assert.equal(references[0]?.precision, 'bf16', 'what it stands for; making it fp32 is up to startReference');
  assert.ok(agreement !== undefined && !(agreement instanceof Error));
  const { pictures: n, skipped, from, top1, largest_probability_difference, ...rest } = agreement;
  assert.deepEqual({ n, skipped, from, top1 }, { n: 3, skipped: 2, from: 'here', top1: 2 / 3 });
  assert.equal(largest_probability_difference, 1);
  const largestLogit = 250 * (size / 3);
  const difference = Math.fround(200 * (size / 3) * 1.1) - 200 * (size / 3);
  assert.equal(rest.largest_logit_difference_relative, difference / largestLogit);
  assert.equal(model.agreement, agreement);
  assert.ok((times.agreement ?? 0) > 0);
});

test('what the comparison fails with is told, and the model is served all the same', async (t) => {
  const failures: Partial<CompareDeps>[] = [
    { samples: () => Promise.reject(new Error('no pictures')) },
    { startReference: () => Promise.reject(new Error('no memory')) },
  ];
  for (const [at, message] of ['no pictures', 'no memory'].entries()) {
    const { model, agreement } = await loadRounded(t, [], comparing([], failures[at]).compare);
    assert.ok(agreement instanceof Error);
    assert.equal(agreement.message, message);
    assert.equal(model.agreement, undefined);
    assert.equal(model.info.precision, 'bf16');
  }
});

test('fp32 is compared with nothing, and neither is anything where there is no comparison', async (t) => {
  const folder = temporaryFolder(t);
  writeWeights(folder);
  const { compare } = comparing([], { samples: () => assert.fail('compared') });
  for (const options of [{ compare }, { precision: 'bf16' }] as const) {
    const { loading, progress } = await load(t, folder, options);
    const { agreement, times } = await loading;
    assert.deepEqual([agreement, times.agreement], [undefined, undefined]);
    assert.deepEqual(
      progress.map(({ step }) => step),
      ['checking', 'starting'],
    );
  }
});

test('a load that is given up during the comparison ends the engine of that and starts none', async (t) => {
  const folder = temporaryFolder(t);
  writeWeights(folder);
  const abort = new AbortController();
  const events: string[] = [];
  const { compare } = comparing(events);
  const startReference: CompareDeps['startReference'] = async (...call) => {
    const engine = await compare.startReference(...call);
    abort.abort(new Error('unloaded'));
    return engine;
  };
  const loading = loadModel(
    await readManifest(writeManifest(folder)),
    {
      startEngine: () => assert.fail('started'),
      limits: { maxBatchSize: 2, maxWaitMs: 0, maxQueue: 1 },
      threads: 1,
      precision: 'bf16',
      cacheDir: folder,
      compare: { ...compare, startReference },
    },
    { signal: abort.signal, report: () => undefined },
  );
  await assert.rejects(loading, { message: 'unloaded' });
  assert.deepEqual(events, ['samples of tiny', 'reference closed']);
});
