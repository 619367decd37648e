import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startEngine } from '../../src/engines/process.js';
import { readManifest } from '../../src/model-registry/manifest.js';
import { ModelRegistry } from '../../src/model-registry/registry.js';
import { temporaryFolder, writeManifest } from './small-model.js';

const checkpoints = new URL('../../../test/fixtures/checkpoints/', import.meta.url);

/** A small network with its float64 logits as PyTorch computed them. */
interface Reference {
  readonly name: string;
  readonly cfg: readonly (number | string)[];
  readonly batch_norm: boolean;
  readonly pool: readonly number[];
  readonly hidden: number;
  readonly classes: number;
  readonly size: number;
  readonly pixels: string;
  readonly logits_float64_reference: readonly (readonly number[])[];
}

test("load and classify with the real engine: PyTorch's logits, picture by picture", async (t) => {
  const references: Reference[] = JSON.parse(readFileSync(new URL('small_networks.json', checkpoints), 'utf8'));
  const reference = references.find(({ name }) => name === 'small_a');
  assert.ok(reference);
  const { cfg, batch_norm, pool, hidden, classes, size } = reference;
  const folder = temporaryFolder(t);
  const path = writeManifest(folder, {
    name: 'small-a',
    weights: { name: 'SEED_1', file: fileURLToPath(new URL('small_a.pth', checkpoints)) },
    network: { cfg, batch_norm, pool, hidden, classes },
    transforms: { resize: 256, crop: size, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
    categories: Array.from({ length: classes }, (_, i) => `class ${i}`),
  });
  const limits = { maxBatchSize: 4, maxWaitMs: 0, maxQueue: 8 };
  const registry = new ModelRegistry({ startEngine, limits, threads: 1, cacheDir: folder });
  t.after(() => registry.close());
  registry.add(await readManifest(path));
  const model = await registry.load('small-a');
  assert.equal(registry.ready, true);

  const pixels = new Uint8Array(readFileSync(new URL(reference.pixels, checkpoints)));
  const pictureBytes = size * size * 3;
  const answers = await Promise.all(
    reference.logits_float64_reference.map((_, i) =>
      model.classify(pixels.subarray(i * pictureBytes, (i + 1) * pictureBytes)),
    ),
  );
  const largest = Math.max(...reference.logits_float64_reference.flat().map(Math.abs));
  for (const [i, expected] of reference.logits_float64_reference.entries()) {
    const answer = answers[i];
    assert.equal(answer?.batchSize, 3);
    const difference = Math.max(...expected.map((logit, j) => Math.abs(logit - (answer.logits[j] ?? Number.NaN))));
    assert.ok(difference <= 1e-5 * largest, `picture ${i} differs by ${difference}`);
  }
});
