import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cfg } from '../../src/vgg/configs.js';
import { builderOptions, buildNetwork, type NetworkOptions } from '../../src/vgg/network.js';
import { allKinds } from '../network/own-networks.js';

test('buildNetwork appends avgpool, flatten and the classifier to the features', () => {
  const { layers, ...options } = buildNetwork({ cfg: [8], batchNorm: false, pool: [3, 2], hidden: 20, classes: 5 });
  assert.deepEqual(options, { cfg: [8], batchNorm: false, pool: [3, 2], hidden: 20, classes: 5 });
  assert.deepEqual(layers.slice(2), [
    { kind: 'avgpool', name: 'avgpool', output: [3, 2] },
    { kind: 'flatten', name: 'flatten' },
    { kind: 'linear', name: 'classifier.0', inFeatures: 48, outFeatures: 20 },
    { kind: 'relu', name: 'classifier.1' },
    { kind: 'dropout', name: 'classifier.2', p: 0.5 },
    { kind: 'linear', name: 'classifier.3', inFeatures: 20, outFeatures: 20 },
    { kind: 'relu', name: 'classifier.4' },
    { kind: 'dropout', name: 'classifier.5', p: 0.5 },
    { kind: 'linear', name: 'classifier.6', inFeatures: 20, outFeatures: 5 },
  ]);
});

test('buildNetwork without any convolution classifies the three channels of the picture', () => {
  const { layers } = buildNetwork({ cfg: ['M'], batchNorm: true, pool: [3, 1], hidden: 4, classes: 2 });
  assert.deepEqual(
    layers.find(({ kind }) => kind === 'linear'),
    { kind: 'linear', name: 'classifier.0', inFeatures: 9, outFeatures: 4 },
  );
});

test("builderOptions(vgg16_bn) with other classes is a user's fine-tuned network", () => {
  const { layers } = buildNetwork({ ...builderOptions('vgg16_bn'), classes: 37 });
  assert.deepEqual(layers.at(-1), { kind: 'linear', name: 'classifier.6', inFeatures: 4096, outFeatures: 37 });
});

const refusals: { what: string; options: Partial<NetworkOptions>; message: string }[] = [
  { what: 'an empty cfg', options: { cfg: [] }, message: 'cfg is a list of 0 items; allowed are 1 to 1000.' },
  {
    what: 'a bad item in the cfg',
    options: { cfg: [64, 'X'] as unknown as Cfg },
    message:
      'cfg[1] is \'X\'; allowed is a number of channels from 1 to 65536, "conv1-N" with such an N, "M" or "LRN".',
  },
  {
    what: 'a pool of no height',
    options: { pool: [0, 7] },
    message: 'pool[0] is 0; allowed is a whole number from 1 to 65536.',
  },
  {
    what: 'a pool of a fractional width',
    options: { pool: [7, 1.5] },
    message: 'pool[1] is 1.5; allowed is a whole number from 1 to 65536.',
  },
  {
    what: 'a negative hidden width',
    options: { hidden: -1 },
    message: 'hidden is -1; allowed is a whole number from 1 to 65536.',
  },
  {
    what: 'too many classes',
    options: { classes: 1e9 },
    message: 'classes is 1000000000; allowed is a whole number from 1 to 65536.',
  },
  // classifier.3 alone has 65536 * 65536 weights.
  {
    what: 'more parameters than any machine holds',
    options: { hidden: 65_536, pool: [1, 1] },
    message:
      'The network has 4296212857 parameters; allowed are at most 2147483648 (8 GiB of float32). Make cfg, pool or hidden smaller.',
  },
];

for (const { what, options, message } of refusals) {
  test(`buildNetwork refuses ${what}`, () => {
    assert.throws(() => buildNetwork({ ...allKinds, ...options }), { name: 'RangeError', message });
  });
}

test('buildNetwork refuses a size that is not a number', () => {
  const classes = '10' as unknown as number;
  assert.throws(() => buildNetwork({ ...allKinds, classes }), {
    name: 'TypeError',
    message: "classes is '10'; allowed is a whole number from 1 to 65536.",
  });
});
