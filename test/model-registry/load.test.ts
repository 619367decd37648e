import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadModel } from '../../src/model-registry/load.js';
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
}

/** A load of the tiny network, with its weights from anywhere. */
async function load(t: TestContext, folder: string, { source, fetchWeights }: Options) {
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
      ...(fetchWeights && { fetchWeights }),
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
