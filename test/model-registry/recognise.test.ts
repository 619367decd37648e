import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recogniseCheckpoint } from '../../src/model-registry/recognise.js';
import type { NamedShape } from '../../src/network/unrecognised.js';
import { contiguousStrides } from '../../src/tensor.js';
import type { Checkpoint } from '../../src/weights/checkpoint.js';
import { resnetRows, vggRows } from '../network/reference.js';

/** A checkpoint of which only the index is looked at. */
function checkpointOf(shapes: readonly NamedShape[]): Checkpoint {
  const tensors = shapes.map(({ name, shape }) => ({
    ...{ name, shape, strides: contiguousStrides(shape) },
    ...{ dtype: 'float32' as const, byteOffset: 0, byteLength: 0 },
  }));
  return { path: '/own.pth', container: 'zip', byteLength: 0, tensors };
}

const shapesOf = (row: (typeof resnetRows | typeof vggRows)[number] | undefined): NamedShape[] =>
  (row?.state_dict ?? []).map(([name, shape]) => ({ name, shape }));

const resnet50 = shapesOf(resnetRows[0]);
const vgg11 = shapesOf(vggRows.find(({ builder }) => builder === 'vgg11'));

/** Other shapes for some keys. */
function altered(tensors: readonly NamedShape[], shapes: Readonly<Record<string, readonly number[]>>): NamedShape[] {
  return tensors.map(({ name, shape }) => ({ name, shape: shapes[name] ?? shape }));
}

test("recogniseCheckpoint of torchvision's ResNet-50, and of one with a head of three classes", () => {
  assert.equal(resnetRows.length, 2);
  for (const row of resnetRows) {
    assert.deepEqual(recogniseCheckpoint(checkpointOf(shapesOf(row))), {
      architecture: { builder: 'resnet50', classes: 1000 },
      name: 'resnet50',
      notes: [],
    });
  }
  const head = altered(resnet50, { 'fc.weight': [3, 2048], 'fc.bias': [3] });
  assert.equal(recogniseCheckpoint(checkpointOf(head)).architecture.classes, 3);
});

test('recogniseCheckpoint of a VGG', () => {
  const { name, architecture } = recogniseCheckpoint(checkpointOf(vgg11));
  assert.deepEqual([name, architecture.classes], ['vgg11', 1000]);
});

const refusals: { what: string; tensors: readonly NamedShape[]; message: string | RegExp }[] = [
  {
    what: 'what no builder makes',
    tensors: [{ name: 'a', shape: [1] }],
    message: '/own.pth: It is not of a VGG, which has features.0.weight: its first keys are a.',
  },
  {
    what: 'a misshapen key',
    tensors: altered(vgg11, { 'features.3.weight': [128, 63, 3, 3] }),
    message: /^\/own\.pth: .*\n\tsize mismatch for features\.3\.weight: .* shape torch\.Size\(\[128, 63, 3, 3\]\)/,
  },
  {
    what: 'a missing key',
    tensors: vgg11.filter(({ name }) => name !== 'classifier.3.bias'),
    message: /^\/own\.pth: .*\n\tMissing key\(s\) in state_dict: "classifier\.3\.bias"/,
  },
  {
    what: 'a ResNet-18',
    tensors: ['conv1', ...[1, 2, 3, 4].flatMap((stage) => [0, 1].map((block) => `layer${stage}.${block}.conv1`))].map(
      (name) => ({ name: `${name}.weight`, shape: [64, 64, 3, 3] }),
    ),
    message:
      '/own.pth: It is a ResNet with 2, 2, 2, 2 basic blocks; allowed is resnet50 (3, 4, 6, 3 bottleneck blocks).',
  },
  {
    what: 'a ResNet-101',
    tensors: [...resnet50, { name: 'layer3.22.conv1.weight', shape: [256, 1024, 1, 1] }],
    message:
      '/own.pth: It is a ResNet with 3, 4, 23, 3 bottleneck blocks; allowed is resnet50 (3, 4, 6, 3 bottleneck blocks).',
  },
  {
    what: 'a ResNeXt-50',
    tensors: altered(resnet50, { 'layer1.0.conv2.weight': [128, 4, 3, 3] }),
    message: '/own.pth: layer1.0.conv2.weight has the shape [128, 4, 3, 3]; that of resnet50 is [64, 64, 3, 3].',
  },
  {
    what: 'a ResNet-50 without its head',
    tensors: resnet50.filter(({ name }) => !name.startsWith('fc.')),
    message: '/own.pth: It has no fc: a feature extractor cannot classify.',
  },
  {
    what: 'a ResNet-50 whose head is a Sequential',
    tensors: resnet50.map(({ name, shape }) => ({ name: name.replace('fc.', 'fc.1.'), shape })),
    message: "/own.pth: The keys of its head are fc.1.weight, fc.1.bias; a ResNet's are fc.weight and fc.bias.",
  },
  {
    what: 'a ResNet-50 whose head is no matrix',
    tensors: altered(resnet50, { 'fc.weight': [1000, 2048, 1, 1] }),
    message: '/own.pth: fc.weight has the shape [1000, 2048, 1, 1]; allowed is [out_features, in_features].',
  },
  {
    what: 'a ResNet-50 with a misshapen key',
    tensors: altered(resnet50, { 'layer4.2.bn3.bias': [512] }),
    message: /\n\tsize mismatch for layer4\.2\.bn3\.bias: /,
  },
];

for (const { what, tensors, message } of refusals) {
  test(`recogniseCheckpoint refuses ${what}`, () => {
    assert.throws(() => recogniseCheckpoint(checkpointOf(tensors)), { message });
  });
}

test('recogniseCheckpoint refuses a cfg that is given and does not fit', () => {
  assert.throws(() => recogniseCheckpoint(checkpointOf(vgg11), { cfg: [64, 'M', 512, 'M'] }), {
    name: 'CheckpointError',
    message: /Unexpected key\(s\) in state_dict: "features\.6\.weight"/,
  });
});
