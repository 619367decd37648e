import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Engine, EngineSpec } from '../../src/engines/engine.js';
import { agreementOf, logitsOf, referenceSpec } from '../../src/model-registry/agreement.js';
import { softmax } from '../../src/model-registry/top-k.js';
import { PixelSums, pixelSums } from './pixel-sums.js';

const spec: EngineSpec = {
  ...{ layers: [], inputSize: 2, classes: 4, tensors: [], maxBatchSize: 3, threads: 1, prepack: false },
  ...{ mean: [0, 0, 0], std: [1, 1, 1], precision: 'bf16' },
};
const signal = new AbortController().signal;
const logits = (...values: number[]) => Float32Array.from(values);
const samples = (n: number, skipped = 0) => ({
  from: 'here',
  pictures: Array.from({ length: n }, () => new Uint8Array(12)),
  skipped,
});

test('agreementOf: the part of equal classes, and the largest differences over all pictures and classes', () => {
  const inFp32 = [logits(2, 1, 0), logits(0, 4, 0), logits(-8, 0, 1), logits(1, 1, 0)];
  const seen = [logits(2, 1.5, 0), logits(0, 4, 0.25), logits(-7, 1, 0.5), logits(1, 1, 0)];
  const agreement = agreementOf({ samples: samples(4, 2), logits: inFp32 }, seen);
  const differences = inFp32.flatMap((expected, at) => {
    const other = softmax(seen[at] as Float32Array);
    return [...softmax(expected)].map((probability, index) => Math.abs(probability - (other[index] as number)));
  });
  assert.deepEqual(agreement, {
    pictures: 4,
    skipped: 2,
    from: 'here',
    top1: 0.75,
    largest_probability_difference: Math.max(...differences),
    largest_logit_difference_relative: 1 / 8,
  });
});

test('agreementOf: the same logits agree wholly', () => {
  const same = [logits(1, 2), logits(2, 1)];
  const { top1, ...rest } = agreementOf({ samples: samples(2), logits: same }, same);
  assert.equal(top1, 1);
  assert.deepEqual([rest.largest_probability_difference, rest.largest_logit_difference_relative], [0, 0]);
});

test('agreementOf: of no picture nothing is known', () => {
  assert.deepEqual(agreementOf({ samples: samples(0, 5), logits: [] }, []), {
    pictures: 0,
    skipped: 5,
    from: 'here',
    top1: null,
    largest_probability_difference: null,
    largest_logit_difference_relative: null,
  });
});

test('agreementOf: logits that are no numbers do not pass for small differences', () => {
  const { largest_probability_difference, largest_logit_difference_relative } = agreementOf(
    { samples: samples(1), logits: [logits(1, 2)] },
    [logits(1, Number.NaN)],
  );
  assert.deepEqual([largest_probability_difference, largest_logit_difference_relative], [Number.NaN, Number.NaN]);
});

test('logitsOf: in batches as large as the engine takes and no larger than 8, each picture in its order', async () => {
  const pictures = Array.from({ length: 10 }, (_, at) => new Uint8Array(12).fill(at));
  const expected = pictures.map((pixels) => Float32Array.from(pixelSums(pixels)));
  for (const [maxBatchSize, sizes] of [
    [3, [3, 3, 3, 1]],
    [16, [8, 2]],
  ] as const) {
    const engine = new PixelSums({ ...spec, maxBatchSize });
    assert.deepEqual(await logitsOf(engine, { ...spec, maxBatchSize }, pictures, signal), expected);
    assert.deepEqual(engine.batchSizes, sizes);
  }
});

test('logitsOf: stops at the signal', async () => {
  const abort = new AbortController();
  const sums = new PixelSums(spec);
  const engine: Engine = {
    info: sums.info,
    run: (pixels, n) => {
      abort.abort(new Error('given up'));
      return sums.run(pixels, n);
    },
    close: () => sums.close(),
  };
  await assert.rejects(logitsOf(engine, spec, samples(9).pictures, abort.signal), { message: 'given up' });
  assert.equal(sums.batchSizes.length, 1);
});

test('referenceSpec: fp32, no larger batches than are run, and the instruction set if it has fp32', () => {
  const of = (change: Partial<EngineSpec>) => {
    const { precision, isa, maxBatchSize } = referenceSpec({ ...spec, ...change });
    return [precision, isa, maxBatchSize];
  };
  assert.deepEqual(of({}), ['fp32', 'auto', 3]);
  assert.deepEqual(of({ isa: 'amx', maxBatchSize: 16 }), ['fp32', 'auto', 8]);
  assert.deepEqual(of({ isa: 'avx2', precision: 'bf16-classifier' }), ['fp32', 'avx2', 3]);
});
