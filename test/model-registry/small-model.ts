import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { stateDict } from '../../src/network/state-dict.js';
import type { StateDictEntry } from '../../src/tensor.js';
import { elementCount } from '../../src/tensor.js';
import { buildNetwork } from '../../src/vgg/network.js';

/** A manifest of the smallest network of all, in its JSON form. */
export const smallManifest = {
  name: 'tiny',
  weights: { name: 'TINY_V1', file: 'tiny.safetensors' },
  network: { cfg: [2, 'M'], batch_norm: false, pool: [1, 1], hidden: 3, classes: 4 },
  transforms: { resize: 6, crop: 4, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
  categories: ['red', 'green', 'blue', 'first'],
  meta: { num_params: 93, 'acc@1': 94.5, 'acc@5': 100, recipe: 'training/train.py', dataset: 'Tiny' },
};

/** A folder that is gone after the test. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Writes a manifest and returns its path. */
export function writeManifest(folder: string, manifest: unknown = smallManifest): string {
  const path = join(folder, 'manifest.json');
  writeFileSync(path, typeof manifest === 'string' ? manifest : JSON.stringify(manifest));
  return path;
}

/** Writes weights (zeros) that fit `smallManifest`. */
export function writeWeights(folder: string): void {
  const network = buildNetwork({ cfg: [2, 'M'], batchNorm: false, pool: [1, 1], hidden: 3, classes: 4 });
  writeFileSync(join(folder, smallManifest.weights.file), safetensors(stateDict(network)));
}

function safetensors(entries: readonly StateDictEntry[]): Buffer {
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const { name, shape } of entries) {
    const start = end;
    end += 4 * elementCount(shape);
    header[name] = { dtype: 'F32', shape, data_offsets: [start, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(end)]);
}
