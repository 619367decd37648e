import fc from 'fast-check';
import type { Cfg, CfgItem } from '../../src/vgg/configs.js';
import type { NetworkOptions } from '../../src/vgg/network.js';

/** A small network with every kind of layer and a rectangular pool. The tests hold what PyTorch 2.14 says about it. */
export const allKinds: NetworkOptions = {
  cfg: ['M', 8, 'conv1-12', 'LRN', 'M', 'M'],
  batchNorm: true,
  pool: [2, 3],
  hidden: 20,
  classes: 5,
};

const channels = fc.integer({ min: 1, max: 40 });

const item: fc.Arbitrary<CfgItem> = fc.oneof(
  channels,
  channels.map((n): CfgItem => `conv1-${n}`),
  fc.constantFrom('M' as const, 'LRN' as const),
);

/** Any order of the four kinds of items. */
export const ownCfg: fc.Arbitrary<Cfg> = fc.array(item, { minLength: 1, maxLength: 12 });

export const ownNetwork: fc.Arbitrary<NetworkOptions> = fc.record({
  cfg: ownCfg,
  batchNorm: fc.boolean(),
  pool: fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })),
  hidden: fc.integer({ min: 1, max: 64 }),
  classes: fc.integer({ min: 1, max: 64 }),
});
