import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { EngineSpec } from '../../src/engines/engine.js';
import { type Isa, isAddonBuilt, isas } from '../../src/engines/native/addon.js';
import { openNative } from '../../src/engines/native/session.js';
import type { CfgItem } from '../../src/vgg/configs.js';
import { buildNetwork } from '../../src/vgg/network.js';
import { naiveForward } from './naive-forward.js';
import { randomPixels, relativeError, specOf, tinySpec, writeOwnWeights } from './test-networks.js';

const skip = isAddonBuilt() ? false : 'its addon is not built';
const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-native-networks-'));
after(() => rmSync(folder, { recursive: true }));

/** Mostly numbers that are no multiple of a vector, and those on both sides of one. */
const channels = fc.oneof(fc.integer({ min: 1, max: 24 }), fc.constantFrom(15, 16, 17, 31, 32, 33, 48));
const items = fc.oneof(
  { weight: 5, arbitrary: channels },
  { weight: 2, arbitrary: channels.map((count): CfgItem => `conv1-${count}`) },
  { weight: 3, arbitrary: fc.constant<CfgItem>('M') },
  { weight: 1, arbitrary: fc.constant<CfgItem>('LRN') },
);
const side = fc.integer({ min: 1, max: 5 });

const cases = fc.record({
  cfg: fc.array<CfgItem>(items, { minLength: 1, maxLength: 6 }),
  batchNorm: fc.boolean(),
  pool: fc.tuple(side, side),
  // Few numbers may happen to cancel each other, and beside what is left every error of float32 is large.
  hidden: fc.integer({ min: 12, max: 70 }),
  classes: fc.integer({ min: 6, max: 40 }),
  /** Pixels a side that are left after the last pooling, and more that it may drop. */
  rest: fc.integer({ min: 1, max: 9 }),
  more: fc.integer({ min: 0, max: 7 }),
  /** Of weights and pictures. */
  seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  gaps: fc.array(fc.nat(7), { minLength: 1, maxLength: 5 }),
  n: fc.integer({ min: 1, max: 5 }),
  threads: fc.integer({ min: 1, max: 3 }),
});

/** Sizes up to 24, where the naive reference takes milliseconds. */
function inputSizeOf({ cfg, rest, more }: { cfg: readonly CfgItem[]; rest: number; more: number }): number {
  const scale = 2 ** cfg.filter((item) => item === 'M').length;
  return Math.max(scale, Math.min(24, rest * scale + (more % scale)));
}

/** Answers of one engine to all pictures as a batch, to each of them alone, and to the batch from its end. */
async function answersOf(spec: EngineSpec, isa: Isa, pixels: Uint8Array, n: number): Promise<Float32Array[]> {
  const engine = await openNative(spec, isa);
  try {
    const pictures = Array.from({ length: n }, (_, at) =>
      pixels.subarray((at * pixels.length) / n, ((at + 1) * pixels.length) / n),
    );
    const together = (await engine.run(pixels, n)).logits;
    const alone: number[] = [];
    for (const picture of pictures) alone.push(...(await engine.run(picture, 1)).logits);
    const turned = (await engine.run(Buffer.concat(pictures.toReversed()), n)).logits;
    const turnedBack = Array.from({ length: n }, (_, at) => {
      const from = (n - 1 - at) * spec.classes;
      return [...turned.subarray(from, from + spec.classes)];
    });
    return [together, Float32Array.from(alone), Float32Array.from(turnedBack.flat())];
  } finally {
    await engine.close();
  }
}

describe('openNative() of a random network', { skip }, () => {
  const here: Isa[] = [];
  before(async () => {
    for (const isa of isas) {
      const opened = await openNative(tinySpec(mkdtempSync(join(folder, 'tiny-'))), isa).catch(() => undefined);
      if (opened) here.push(isa);
      await opened?.close();
    }
  });

  test('is within 1e-5 of float64 and the same to the bit with any threads, batch and order of pictures', async (t) => {
    let worst = 0;
    await fc.assert(
      fc.asyncProperty(cases, async ({ cfg, batchNorm, pool, hidden, classes, rest, more, seed, gaps, n, threads }) => {
        const network = buildNetwork({ cfg, batchNorm, pool, hidden, classes });
        const inputSize = inputSizeOf({ cfg, rest, more });
        const { weights, tensors } = writeOwnWeights(network, folder, { seed, gaps });
        const spec = { ...specOf(network, inputSize, tensors), maxBatchSize: 5 };
        const pixels = randomPixels(n, inputSize, seed);
        const checked = seed % n;
        const picture = pixels.subarray(checked * inputSize ** 2 * 3, (checked + 1) * inputSize ** 2 * 3);
        const right = naiveForward(spec, weights, picture);
        for (const isa of here) {
          const answers = await answersOf({ ...spec, threads }, isa, pixels, n);
          answers.push(...(await answersOf({ ...spec, threads: (threads % 3) + 1 }, isa, pixels, n)));
          const [first = new Float32Array()] = answers;
          for (const answer of answers) assert.deepEqual(answer, first);
          const error = relativeError(first.subarray(checked * classes, (checked + 1) * classes), right);
          assert.ok(error <= 1e-5, `${isa}, ${inputSize} x ${inputSize}: ${error}`);
          worst = Math.max(worst, error);
        }
      }),
      { seed: 20, numRuns: 60 },
    );
    t.diagnostic(`on ${here.join(', ')}: largest relative error ${worst.toExponential(1)}`);
  });
});
