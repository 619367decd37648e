import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { multiplyAdds, outputShapes } from '../../src/network/shapes.js';
import { parameterCount, stateDict } from '../../src/network/state-dict.js';
import { resnets } from '../../src/resnet/configs.js';
import { buildResNet } from '../../src/resnet/network.js';
import { resnetRows } from '../network/reference.js';

const resnet50 = buildResNet({ ...resnets.resnet50, classes: 1000 });

for (const { entry, meta, state_dict } of resnetRows) {
  test(`stateDict(resnet50) has torchvision's names, shapes and dtypes, in order (${entry})`, () => {
    assert.deepEqual(
      stateDict(resnet50).map(({ name, shape, dtype }) => [name, shape, dtype]),
      state_dict,
    );
  });

  test(`parameterCount(resnet50) is torchvision's num_params ${meta.num_params} (${entry})`, () => {
    assert.equal(parameterCount(resnet50), meta.num_params);
  });

  test(`multiplyAdds(resnet50, 224) is torchvision's _ops ${meta._ops} (${entry})`, () => {
    assert.equal(Math.round(multiplyAdds(resnet50, 224) / 1e6) / 1000, meta._ops);
  });
}

test("outputShapes(resnet50, 224) has the paper's five sizes and the pooled features", () => {
  const shapes = new Map(outputShapes(resnet50, 224).map(({ layer, shape }) => [layer.name, shape.join('x')]));
  const names = [
    'conv1',
    'maxpool',
    'layer1.2.add',
    'layer2.3.add',
    'layer3.5.add',
    'layer4.2.add',
    'avgpool',
    'flatten',
  ];
  assert.deepEqual(
    names.map((name) => shapes.get(name)),
    ['64x112x112', '64x56x56', '256x56x56', '512x28x28', '1024x14x14', '2048x7x7', '2048x1x1', '2048'],
  );
});

test('outputShapes(resnet50) for a picture of odd and unequal sides is what PyTorch says, [height, width]', () => {
  const shapes = new Map(outputShapes(resnet50, [97, 130]).map(({ layer, shape }) => [layer.name, shape.join('x')]));
  assert.deepEqual(
    ['conv1', 'maxpool', 'layer1.2.relu_2', 'layer2.3.relu_2', 'layer3.5.relu_2', 'layer4.2.relu_2', 'fc'].map((name) =>
      shapes.get(name),
    ),
    ['64x49x65', '64x25x33', '256x25x33', '512x13x17', '1024x7x9', '2048x4x5', '1000'],
  );
});

test('outputShapes(resnet50) takes a picture of one pixel, as PyTorch does', () => {
  assert.deepEqual(outputShapes(resnet50, 1).at(-1)?.shape, [1000]);
});

test('outputShapes of both inputs of every sum are the same', () => {
  const rows = outputShapes(resnet50, [200, 180]);
  const shapes = new Map(rows.map(({ layer, shape }) => [layer.name, shape]));
  const sums = rows.filter(({ layer }) => layer.kind === 'add');
  assert.equal(sums.length, 3 + 4 + 6 + 3);
  for (const { layer, inputShape } of sums) {
    assert.deepEqual(layer.kind === 'add' && shapes.get(layer.other), inputShape, layer.name);
  }
});

test('buildResNet names each layer as torchvision.models.feature_extraction names the node', () => {
  assert.deepEqual(
    resnet50.layers.slice(0, 18).map(({ name }) => name),
    [
      ...['conv1', 'bn1', 'relu', 'maxpool'],
      ...['conv1', 'bn1', 'relu', 'conv2', 'bn2', 'relu_1', 'conv3', 'bn3'].map((name) => `layer1.0.${name}`),
      ...['downsample.0', 'downsample.1', 'add', 'relu_2'].map((name) => `layer1.0.${name}`),
      ...['layer1.1.conv1', 'layer1.1.bn1'],
    ],
  );
  assert.deepEqual(
    resnet50.layers.slice(-5).map(({ name }) => name),
    ['layer4.2.add', 'layer4.2.relu_2', 'avgpool', 'flatten', 'fc'],
  );
});

test('buildResNet adds what goes into a block, downsampled where its shape changes', () => {
  const sums = resnet50.layers.filter((layer) => layer.kind === 'add').slice(0, 4);
  assert.deepEqual(
    sums.map(({ input, other }) => [input, other]),
    [
      ['layer1.0.bn3', 'layer1.0.downsample.1'],
      ['layer1.1.bn3', 'layer1.0.relu_2'],
      ['layer1.2.bn3', 'layer1.1.relu_2'],
      ['layer2.0.bn3', 'layer2.0.downsample.1'],
    ],
  );
  assert.equal(resnet50.layers.find(({ name }) => name === 'layer2.0.downsample.0')?.input, 'layer1.2.relu_2');
});

test('buildResNet strides in the 3x3 convolution of the first block of a stage', () => {
  const strided = resnet50.layers.filter((layer) => layer.kind === 'conv' && layer.stride === 2);
  assert.deepEqual(
    strided.map(({ name }) => name),
    ['conv1', ...[2, 3, 4].flatMap((stage) => [`layer${stage}.0.conv2`, `layer${stage}.0.downsample.0`])],
  );
});

test('parameterCount(resnet50) with other classes differs by the rows of fc', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 65_536 }), (classes) => {
      const network = buildResNet({ ...resnets.resnet50, classes });
      assert.deepEqual(network.layers.at(-1), { kind: 'linear', name: 'fc', inFeatures: 2048, outFeatures: classes });
      assert.equal(parameterCount(network), 25_557_032 + (classes - 1000) * 2049);
    }),
    { numRuns: 20 },
  );
});

test('buildResNet refuses zero classes', () => {
  assert.throws(() => buildResNet({ ...resnets.resnet50, classes: 0 }), {
    name: 'RangeError',
    message: 'classes is 0; allowed is a whole number from 1 to 65536.',
  });
});
