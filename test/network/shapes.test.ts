import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { multiplyAdds, outputShapes } from '../../src/network/shapes.js';
import { builderOptions, buildNetwork } from '../../src/vgg/network.js';
import { allKinds, ownNetwork } from './own-networks.js';
import { vggRows } from './reference.js';

for (const { builder, entry, meta } of vggRows) {
  test(`multiplyAdds(${builder}, 224) is torchvision's _ops ${meta._ops} (${entry})`, () => {
    const billions = multiplyAdds(buildNetwork(builderOptions(builder)), 224) / 1e9;
    assert.equal(Math.round(billions * 1000) / 1000, meta._ops);
  });
}

test('multiplyAdds counts weights and places, and no bias, norm or pooling', () => {
  const network = buildNetwork({ cfg: [8, 'M', 'conv1-16'], batchNorm: true, pool: [3, 3], hidden: 5, classes: 2 });
  const features = 8 * 3 * 9 * (6 * 4) + 16 * 8 * (3 * 2);
  const classifier = 16 * 9 * 5 + 5 * 5 + 5 * 2;
  assert.equal(multiplyAdds(network, [6, 4]), features + classifier);
});

test('outputShapes(vgg16, 224) has the five blocks of the paper', () => {
  const shapes = outputShapes(buildNetwork(builderOptions('vgg16')), 224);
  assert.deepEqual(
    shapes.filter(({ layer }) => layer.kind === 'maxpool').map(({ shape }) => shape),
    [
      [64, 112, 112],
      [128, 56, 56],
      [256, 28, 28],
      [512, 14, 14],
      [512, 7, 7],
    ],
  );
});

test('outputShapes for a picture of odd and unequal sides is what PyTorch says, [height, width]', () => {
  assert.deepEqual(
    outputShapes(buildNetwork(allKinds), [33, 40]).map(({ layer, shape }) => `${layer.name} ${shape.join('x')}`),
    [
      'features.0 3x16x20',
      'features.1 8x16x20',
      'features.2 8x16x20',
      'features.3 8x16x20',
      'features.4 12x16x20',
      'features.5 12x16x20',
      'features.6 12x16x20',
      'features.7 12x16x20',
      'features.8 12x8x10',
      'features.9 12x4x5',
      'avgpool 12x2x3',
      'flatten 72',
      'classifier.0 20',
      'classifier.1 20',
      'classifier.2 20',
      'classifier.3 20',
      'classifier.4 20',
      'classifier.5 20',
      'classifier.6 5',
    ],
  );
});

test('outputShapes of any network halves the sides at M and nowhere else in the features', () => {
  const side = fc.integer({ min: 2 ** 12, max: 2 ** 13 });
  fc.assert(
    fc.property(ownNetwork, side, side, (options, height, width) => {
      const rows = outputShapes(buildNetwork(options), [height, width]);
      let before = [3, height, width];
      for (const { layer, shape } of rows.slice(0, -9)) {
        const halving = layer.kind === 'maxpool' ? 2 : 1;
        const channels = layer.kind === 'conv' ? layer.outChannels : before[0];
        assert.deepEqual(shape, [channels, ...before.slice(1).map((extent) => Math.floor(extent / halving))]);
        before = shape;
      }
      assert.deepEqual(rows.at(-1)?.shape, [options.classes]);
    }),
  );
});

test('outputShapes takes a picture of 32 x 32 for five poolings and refuses 31 x 32', () => {
  const network = buildNetwork(builderOptions('vgg11'));
  assert.deepEqual(outputShapes(network, 32).find(({ layer }) => layer.name === 'features.20')?.shape, [512, 1, 1]);
  assert.throws(() => outputShapes(network, [32, 31]), {
    name: 'RangeError',
    message: 'The input is 31 x 32 pixels; 5 max poolings need at least 32 x 32.',
  });
});

const refusals: { what: string; inputSize: number | [number, number]; message: string }[] = [
  {
    what: 'a picture of no height',
    inputSize: 0,
    message: 'The height of the input is 0; allowed is a whole number from 1 to 65536.',
  },
  {
    what: 'a fractional width',
    inputSize: [224, 1.5],
    message: 'The width of the input is 1.5; allowed is a whole number from 1 to 65536.',
  },
  {
    what: 'an absurd side',
    inputSize: 1e12,
    message: 'The height of the input is 1000000000000; allowed is a whole number from 1 to 65536.',
  },
];

for (const { what, inputSize, message } of refusals) {
  test(`outputShapes refuses ${what}`, () => {
    assert.throws(() => outputShapes(buildNetwork(allKinds), inputSize), { name: 'RangeError', message });
  });
}
