import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { formulaTensor, writeFormulaWeights } from '../../bench/formula-weights.js';
import { availableCpus } from '../../src/cpus.js';
import type { EngineName } from '../../src/engines/engine.js';
import { isAddonBuilt } from '../../src/engines/native/addon.js';
import { whyNotNative } from '../../src/engines/native/layers.js';
import { startEngine } from '../../src/engines/process.js';
import { type BuilderName, buildArchitecture, builderArchitecture } from '../../src/model-registry/architecture.js';
import { stateDict } from '../../src/network/state-dict.js';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { matchStateDict } from '../../src/weights/match.js';
import { relativeError, specOf } from '../engines/test-networks.js';

const fixtures = new URL('../../../test/fixtures/full/', import.meta.url);

/** An engine, and how far it may be from float64 as a part of the largest logit. */
export interface FullNetworkEngine {
  readonly engine: EngineName;
  readonly tolerance: number;
}

const { crops, rows } = JSON.parse(readFileSync(new URL('full_networks.json', fixtures), 'utf8')) as {
  crops: string[];
  rows: {
    builder: BuilderName;
    first_values: Record<string, number[]>;
    logits_float64: number[][];
    top1: number[];
  }[];
};
const pixels = Buffer.concat(crops.map((crop) => readFileSync(new URL(crop, fixtures))));

/** The full-size networks against PyTorch. Takes 0.6 GB of disk and 1.5 GB of memory. */
export function testFullNetworks(engines: readonly FullNetworkEngine[]): void {
  const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-full-'));
  after(() => rmSync(folder, { recursive: true }));

  for (const { builder, first_values, logits_float64, top1 } of rows) {
    describe(builder, () => {
      const network = buildArchitecture(builderArchitecture(builder, 1000));

      test('formulaTensor() begins as in PyTorch', () => {
        const shapes = new Map(stateDict(network).map(({ name, shape }) => [name, shape]));
        for (const [name, expected] of Object.entries(first_values)) {
          const values = formulaTensor(name, shapes.get(name) ?? []);
          assert.deepEqual([...values.subarray(0, expected.length)], expected, name);
        }
      });

      const path = join(folder, `${builder}.safetensors`);
      before(() => writeFormulaWeights(network, path));
      after(() => rmSync(path));

      for (const { engine: name, tolerance } of engines) {
        const skip = name === 'native' && (isAddonBuilt() ? whyNotNative(network.layers) : 'its addon is not built');
        test(`${name} is within ${tolerance} of PyTorch in float64, and has its top-1`, {
          skip: skip ?? false,
        }, async (t) => {
          const checkpoint = await readCheckpoint(path);
          const tensors = matchStateDict(stateDict(network), checkpoint).map((entry) => ({ ...entry, path }));
          const spec = { ...specOf(network, 224, tensors), threads: availableCpus() };
          const engine = await startEngine(spec, { engine: name });
          try {
            const { logits } = await engine.run(pixels, crops.length);
            const error = relativeError(logits, logits_float64.flat());
            t.diagnostic(`${builder}, ${name}: largest difference / largest logit = ${error.toExponential(2)}`);
            assert.ok(error <= tolerance, `${error} > ${tolerance}`);
            crops.forEach((_, index) => {
              const row = logits.subarray(index * network.classes, (index + 1) * network.classes);
              assert.equal(row.indexOf(Math.max(...row)), top1[index]);
            });
          } finally {
            await engine.close();
          }
        });
      }
    });
  }
}
