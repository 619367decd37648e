import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parameterCount, stateDict } from '../../src/network/state-dict.js';
import { type CfgName, cfgs } from '../../src/vgg/configs.js';
import { builderOptions, buildNetwork } from '../../src/vgg/network.js';
import { allKinds, ownNetwork } from './own-networks.js';
import { vggRows } from './reference.js';

for (const { builder, entry, meta, state_dict } of vggRows) {
  test(`stateDict(${builder}) has torchvision's names, shapes and dtypes, in order (${entry})`, () => {
    const entries = stateDict(buildNetwork(builderOptions(builder)));
    assert.deepEqual(
      entries.map(({ name, shape, dtype }) => [name, shape, dtype]),
      state_dict,
    );
  });

  test(`parameterCount(${builder}) is torchvision's num_params ${meta.num_params} (${entry})`, () => {
    assert.equal(parameterCount(buildNetwork(builderOptions(builder))), meta.num_params);
  });
}

/** Table 2 of the paper, in millions; it gives A and A-LRN together. */
const millions: Record<CfgName, number> = { A: 133, 'A-LRN': 133, B: 133, C: 134, D: 138, E: 144 };

for (const [name, expected] of Object.entries(millions)) {
  test(`parameterCount(${name}) is the paper's ${expected} million`, () => {
    const network = buildNetwork({ ...builderOptions('vgg11'), cfg: cfgs[name as CfgName] });
    assert.equal(Math.round(parameterCount(network) / 1e6), expected);
  });
}

test('stateDict of a network with every kind of layer is what PyTorch says', () => {
  const entries = stateDict(buildNetwork(allKinds)).map(
    ({ name, shape, kind }) => `${kind} ${name} ${shape.join('x')}`,
  );
  assert.deepEqual(entries, [
    'parameter features.1.weight 8x3x3x3',
    'parameter features.1.bias 8',
    'parameter features.2.weight 8',
    'parameter features.2.bias 8',
    'buffer features.2.running_mean 8',
    'buffer features.2.running_var 8',
    'buffer features.2.num_batches_tracked ',
    'parameter features.4.weight 12x8x1x1',
    'parameter features.4.bias 12',
    'parameter features.5.weight 12',
    'parameter features.5.bias 12',
    'buffer features.5.running_mean 12',
    'buffer features.5.running_var 12',
    'buffer features.5.num_batches_tracked ',
    'parameter classifier.0.weight 20x72',
    'parameter classifier.0.bias 20',
    'parameter classifier.3.weight 20x20',
    'parameter classifier.3.bias 20',
    'parameter classifier.6.weight 5x20',
    'parameter classifier.6.bias 5',
  ]);
  assert.equal(parameterCount(buildNetwork(allKinds)), 2357);
});

test('parameterCount of any network is the closed formula over its cfg', () => {
  fc.assert(
    fc.property(ownNetwork, (options) => {
      const { cfg, batchNorm, pool, hidden, classes } = options;
      let channels = 3;
      let expected = 0;
      for (const item of cfg) {
        if (item === 'M' || item === 'LRN') continue;
        const [area, out] = typeof item === 'number' ? [9, item] : [1, Number(item.slice(6))];
        expected += (area * channels + (batchNorm ? 3 : 1)) * out;
        channels = out;
      }
      expected += (channels * pool[0] * pool[1] + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * classes;
      assert.equal(parameterCount(buildNetwork(options)), expected);
    }),
  );
});

test('stateDict of any network names each tensor once', () => {
  fc.assert(
    fc.property(ownNetwork, (options) => {
      const names = stateDict(buildNetwork(options)).map(({ name }) => name);
      assert.equal(new Set(names).size, names.length);
    }),
  );
});
