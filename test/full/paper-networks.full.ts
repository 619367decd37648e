/** Networks of the paper for which torchvision has no builder, in full size: both engines must agree. `npm run test:full` */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeFormulaWeights } from '../../bench/formula-weights.js';
import { availableCpus } from '../../src/cpus.js';
import type { EngineName } from '../../src/engines/engine.js';
import { isAddonBuilt } from '../../src/engines/native/addon.js';
import { startEngine } from '../../src/engines/process.js';
import { stateDict } from '../../src/network/state-dict.js';
import { cfgs } from '../../src/vgg/configs.js';
import { buildNetwork } from '../../src/vgg/network.js';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { matchStateDict } from '../../src/weights/match.js';
import { relativeError, specOf } from '../engines/test-networks.js';

const fixtures = new URL('../../../test/fixtures/full/', import.meta.url);
const crops = readdirSync(fixtures).filter((file) => file.endsWith('.256-224.u8'));
const pixels = Buffer.concat(crops.map((crop) => readFileSync(new URL(crop, fixtures))));
const skip = isAddonBuilt() ? false : 'the native engine is not built';

for (const name of ['A-LRN', 'C'] as const) {
  test(`${name}: native is within 1e-5 of onnxruntime, and has its top-1`, { skip }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-paper-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, `${name}.safetensors`);
    const network = buildNetwork({ cfg: cfgs[name], batchNorm: false, pool: [7, 7], hidden: 4096, classes: 1000 });
    await writeFormulaWeights(network, path);
    const checkpoint = await readCheckpoint(path);
    const tensors = matchStateDict(stateDict(network), checkpoint).map((entry) => ({ ...entry, path }));
    const spec = { ...specOf(network, 224, tensors), threads: availableCpus() };
    const logitsOf = async (engineName: EngineName) => {
      const engine = await startEngine(spec, { engine: engineName });
      try {
        return (await engine.run(pixels, crops.length)).logits;
      } finally {
        await engine.close();
      }
    };
    const [native, onnxruntime] = [await logitsOf('native'), await logitsOf('onnxruntime')];
    const error = relativeError(native, [...onnxruntime]);
    t.diagnostic(`${name}: largest difference / largest logit = ${error.toExponential(2)}`);
    assert.ok(error <= 1e-5, String(error));
    for (let at = 0; at < crops.length; at++) {
      const [own, others] = [native, onnxruntime].map((logits) => {
        const row = logits.subarray(at * network.classes, (at + 1) * network.classes);
        return row.indexOf(Math.max(...row));
      });
      assert.equal(own, others, crops[at]);
    }
  });
}
