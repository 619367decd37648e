import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stateDict } from '../../src/network/state-dict.js';
import { type NamedShape, UnrecognisedError } from '../../src/network/unrecognised.js';
import { type Cfg, type CfgItem, type CfgName, cfgs } from '../../src/vgg/configs.js';
import { builderOptions, buildNetwork, type NetworkOptions } from '../../src/vgg/network.js';
import { recogniseVgg } from '../../src/vgg/recognise.js';
import { ownNetwork } from '../network/own-networks.js';
import { vggRows } from '../network/reference.js';

const small = { batchNorm: false, pool: [2, 2], hidden: 6, classes: 3 } as const;

function shapesOf(options: NetworkOptions): NamedShape[] {
  return stateDict(buildNetwork(options)).map(({ name, shape }) => ({ name, shape }));
}

/** The state dict of a small network, some of its shapes changed, some of its keys renamed or, by '', taken out. */
function changed(
  shapes: Readonly<Record<string, readonly number[]>>,
  names: Readonly<Record<string, string>> = {},
): NamedShape[] {
  return shapesOf({ ...small, cfg: [4, 'M', 8, 'M'] })
    .map(({ name, shape }) => ({ name: names[name] ?? name, shape: shapes[name] ?? shape }))
    .filter(({ name }) => name !== '');
}

for (const { builder, entry, state_dict } of vggRows) {
  test(`recogniseVgg of torchvision's ${builder} ${entry}`, () => {
    const { options, name, notes } = recogniseVgg(state_dict.map(([name, shape]) => ({ name, shape })));
    assert.deepEqual({ options, name, notes }, { options: builderOptions(builder), name: builder, notes: [] });
  });
}

test('recogniseVgg of a vgg16_bn with a head of three classes', () => {
  const options = { ...builderOptions('vgg16_bn'), classes: 3 };
  assert.deepEqual(recogniseVgg(shapesOf(options)), { options, name: 'vgg16_bn', notes: [] });
});

for (const name of Object.keys(cfgs) as CfgName[]) {
  for (const batchNorm of [false, true]) {
    test(`recogniseVgg of cfg ${name} ${batchNorm ? 'with' : 'without'} batch norm, pool and hidden of its own`, () => {
      const options = { ...small, cfg: cfgs[name], batchNorm };
      const recognised = recogniseVgg(shapesOf(options));
      assert.deepEqual({ options: recognised.options, name: recognised.name }, { options, name });
    });
  }
}

test("recogniseVgg of torchvision's vgg11 but for its hidden width, or but for its pool: the name is that of the cfg", () => {
  for (const difference of [{ hidden: 512 }, { pool: [1, 1] }] as const) {
    const options: NetworkOptions = { ...builderOptions('vgg11'), ...difference };
    assert.deepEqual(recogniseVgg(shapesOf(options)), { options, name: 'A', notes: [] });
  }
});

test('recogniseVgg of A-LRN with a sixteenth of the channels: LRN and pooling from the numbers alone', () => {
  const cfg = cfgs['A-LRN'].map((item): CfgItem => (typeof item === 'number' ? item / 16 : item));
  const { options, name, notes } = recogniseVgg(shapesOf({ ...small, cfg }));
  assert.deepEqual({ cfg: options.cfg, name }, { cfg, name: undefined });
  assert.match(notes[0] ?? '', /^A checkpoint does not show layers without weights\./);
});

const channels = fc.integer({ min: 1, max: 40 });
const convolution = fc.oneof(
  channels,
  channels.map((n): CfgItem => `conv1-${n}`),
);

/** Convolutions with at most one max pooling before each, and one at the end. */
const pooledCfg: fc.Arbitrary<Cfg> = fc
  .array(fc.tuple(fc.boolean(), convolution), { minLength: 1, maxLength: 10 })
  .map((rows) => [...rows.flatMap(([pools, item]): CfgItem[] => (pools ? ['M', item] : [item])), 'M']);

const squarePool = fc.integer({ min: 1, max: 9 }).map((side) => [side, side] as const);

test('recogniseVgg of any own cfg that ends with its pooling and a square pool: finds the options', () => {
  fc.assert(
    fc.property(ownNetwork, pooledCfg, squarePool, (other, cfg, pool) => {
      const options = { ...other, cfg, pool };
      assert.deepEqual(recogniseVgg(shapesOf(options)).options, options);
    }),
  );
});

test('recogniseVgg in any order of the keys', () => {
  fc.assert(
    fc.property(
      fc.shuffledSubarray(shapesOf(builderOptions('vgg11_bn')), { minLength: 8 * 7 + 6 }),
      (shapes) => recogniseVgg(shapes).name === 'vgg11_bn',
    ),
  );
});

test('recogniseVgg of any own network whose cfg and pool are given: finds the options', () => {
  const withConvolution = ownNetwork.filter(({ cfg }) => cfg.some((item) => item !== 'M' && item !== 'LRN'));
  fc.assert(
    fc.property(withConvolution, (options) => {
      const { cfg, pool } = options;
      assert.deepEqual(recogniseVgg(shapesOf(options), { cfg, pool }), {
        options: { ...options },
        name: undefined,
        notes: [],
      });
    }),
  );
});

test('recogniseVgg of a pool that is not 7 x 7: says that its area is all that is known', () => {
  const shapes = shapesOf({ ...small, cfg: cfgs.A });
  assert.deepEqual(recogniseVgg(shapes).notes, [
    'A checkpoint shows the area of the pool only: 4 was taken for 2 x 2. Give the pool if that is wrong.',
  ]);
  assert.deepEqual(recogniseVgg(shapes, { pool: [1, 4] }), {
    options: { ...small, cfg: cfgs.A, pool: [1, 4] },
    name: 'A',
    notes: [],
  });
});

const features = changed({}).filter(({ name }) => name.startsWith('features.'));

const refusals: { what: string; tensors: readonly NamedShape[]; message: string }[] = [
  {
    what: 'no tensors',
    tensors: [],
    message: 'It is not of a VGG, which has features.0.weight: its first keys are none.',
  },
  {
    what: 'another network',
    tensors: ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => ({ name, shape: [3] })),
    message: 'It is not of a VGG, which has features.0.weight: its first keys are a, b, c, d, e, f, ... (7 in all).',
  },
  {
    what: 'a VGG inside another module',
    tensors: changed({}).map(({ name, shape }) => ({ name: `model.vgg.${name}`, shape })),
    message:
      'Its keys begin with "model.vgg.": save the state dict of the VGG itself, whose keys begin with "features.".',
  },
  {
    what: 'a Sequential alone',
    tensors: features.map(({ name, shape }) => ({ name: name.replace('features.', ''), shape })),
    message:
      'Its keys are 0.weight, 0.bias, 3.weight, 3.bias: those of a part of a network. Save the state dict of the whole, ' +
      'with features and classifier.',
  },
  {
    what: 'a feature extractor',
    tensors: features,
    message:
      'It has features, but no classifier (classifier.0, classifier.3, classifier.6): a feature extractor cannot classify.',
  },
  {
    what: 'a head of another name',
    tensors: [...features, { name: 'fc.weight', shape: [3, 8] }],
    message:
      'It has features, but no classifier (classifier.0, classifier.3, classifier.6): a feature extractor cannot classify. ' +
      'Its other keys are fc.weight.',
  },
  {
    what: 'a last layer that is a Sequential',
    tensors: changed(
      {},
      { 'classifier.6.weight': 'classifier.6.1.weight', 'classifier.6.bias': 'classifier.6.1.bias' },
    ),
    message:
      'The keys of its classifier are classifier.0.weight, classifier.0.bias, classifier.3.weight, classifier.3.bias, ' +
      "classifier.6.1.weight, classifier.6.1.bias; a VGG's are weight and bias of classifier.0, classifier.3, classifier.6.",
  },
  {
    what: 'a classifier of one layer',
    tensors: [...features, { name: 'classifier.weight', shape: [3, 8] }],
    message:
      "The keys of its classifier are classifier.weight; a VGG's are weight and bias of classifier.0, classifier.3, classifier.6.",
  },
  {
    what: 'a key too many',
    tensors: [...changed({}), { name: 'features.0.weight_mask', shape: [1] }],
    message: 'It has keys that no VGG has: features.0.weight_mask.',
  },
  {
    what: "AlexNet's first convolution",
    tensors: changed({ 'features.0.weight': [4, 3, 11, 11] }),
    message: "features.0.weight has the shape [4, 3, 11, 11]; a VGG's convolutions are 3 x 3 or 1 x 1.",
  },
  {
    what: 'a convolution that is a matrix',
    tensors: changed({ 'features.3.weight': [8, 36] }),
    message: 'features.3.weight has the shape [8, 36]; allowed is that of a convolution, [out, in, height, width].',
  },
  {
    what: 'three layers without weights',
    tensors: shapesOf({ ...small, cfg: [4, 'M', 'M', 'LRN', 8, 'M'] }),
    message:
      '3 layers without weights come before features.5.weight, and a checkpoint does not show which: give the cfg.',
  },
  {
    what: 'convolutions without ReLU between',
    tensors: changed({}, { 'features.3.weight': 'features.1.weight', 'features.3.bias': 'features.1.bias' }),
    message: 'features.1.weight comes too early: each convolution takes 2 numbers, with its ReLU.',
  },
  {
    what: 'a linear layer that is none',
    tensors: changed({ 'classifier.0.weight': [6, 8, 2, 2] }),
    message: 'classifier.0.weight has the shape [6, 8, 2, 2]; allowed is [out_features, in_features].',
  },
  {
    what: 'a classifier that does not fit the features',
    tensors: changed({ 'classifier.0.weight': [6, 33] }),
    message: 'classifier.0.weight takes 33 features: no multiple of the 8 channels of the last convolution.',
  },
  {
    what: 'a pool that is no square',
    tensors: shapesOf({ ...small, cfg: [8, 'M'], pool: [2, 3] }),
    message:
      'classifier.0.weight takes 48 features: 6 of each of the 8 last channels, which is no square: give the pool.',
  },
  {
    what: 'no classes',
    tensors: changed({ 'classifier.6.weight': [0, 6] }),
    message: 'classes is 0; allowed is a whole number from 1 to 65536.',
  },
];

for (const { what, tensors, message } of refusals) {
  test(`recogniseVgg refuses ${what}`, () => {
    assert.throws(
      () => recogniseVgg(tensors),
      (error) => {
        assert.ok(error instanceof UnrecognisedError);
        assert.equal(error.message, message);
        return true;
      },
    );
  });
}

test('recogniseVgg refuses a pool that is given and does not fit', () => {
  assert.throws(() => recogniseVgg(changed({}), { pool: [2, 3] }), {
    name: 'UnrecognisedError',
    message: 'classifier.0.weight takes 32 features: not 2 x 3 of each of the 8 last channels.',
  });
});
