import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CfgName, parseCfg } from '../../src/vgg/configs.js';
import { ownCfg } from '../network/own-networks.js';

/** Table 1 of the paper counts "weight layers"; the three of the classifier are not in the cfg. */
const weightLayers: Record<CfgName, number> = { A: 11, 'A-LRN': 11, B: 13, C: 16, D: 16, E: 19 };

for (const [name, layers] of Object.entries(weightLayers)) {
  test(`parseCfg("${name}") has the paper's ${layers} weight layers and 5 poolings`, () => {
    const cfg = parseCfg(name);
    assert.equal(cfg.filter((item) => item !== 'M' && item !== 'LRN').length + 3, layers);
    assert.equal(cfg.filter((item) => item === 'M').length, 5);
  });
}

test('parseCfg of an own list that came through JSON is that list', () => {
  fc.assert(fc.property(ownCfg, (cfg) => assert.deepEqual(parseCfg(JSON.parse(JSON.stringify(cfg))), cfg)));
});

test('parseCfg takes the smallest and the largest number of channels', () => {
  assert.deepEqual(parseCfg([1, 65_536, 'conv1-1', 'conv1-65536']), [1, 65_536, 'conv1-1', 'conv1-65536']);
});

const allowedNames = 'A, A-LRN, B, C, D, E';
const allowedItems = 'allowed is a number of channels from 1 to 65536, "conv1-N" with such an N, "M" or "LRN".';

const refusals: { what: string; value: unknown; error: typeof TypeError | typeof RangeError; message: string }[] = [
  {
    what: 'an unknown name',
    value: 'F',
    error: RangeError,
    message: `cfg is 'F'; allowed is ${allowedNames} or a list.`,
  },
  {
    what: "a name of Object's",
    value: 'constructor',
    error: RangeError,
    message: `cfg is 'constructor'; allowed is ${allowedNames} or a list.`,
  },
  {
    what: 'a very long name',
    value: 'x'.repeat(1e6),
    error: RangeError,
    message: `cfg is '${'x'.repeat(40)}'... 999960 more characters; allowed is ${allowedNames} or a list.`,
  },
  {
    what: 'nothing',
    value: undefined,
    error: TypeError,
    message: `cfg is undefined; allowed is a name (${allowedNames}) or a list.`,
  },
  {
    what: 'an object',
    value: { 0: 64 },
    error: TypeError,
    message: `cfg is [Object]; allowed is a name (${allowedNames}) or a list.`,
  },
  { what: 'an empty list', value: [], error: RangeError, message: 'cfg is a list of 0 items; allowed are 1 to 1000.' },
  {
    what: 'a list of 1001 items',
    value: new Array(1001).fill(8),
    error: RangeError,
    message: 'cfg is a list of 1001 items; allowed are 1 to 1000.',
  },
  { what: 'zero channels', value: [64, 'M', 0], error: RangeError, message: `cfg[2] is 0; ${allowedItems}` },
  { what: 'negative channels', value: [-64], error: RangeError, message: `cfg[0] is -64; ${allowedItems}` },
  { what: 'a fraction of a channel', value: [64, 1.5], error: RangeError, message: `cfg[1] is 1.5; ${allowedItems}` },
  { what: 'NaN', value: [Number.NaN], error: RangeError, message: `cfg[0] is NaN; ${allowedItems}` },
  { what: 'too many channels', value: [65_537], error: RangeError, message: `cfg[0] is 65537; ${allowedItems}` },
  { what: 'an unknown letter', value: [64, 'm'], error: RangeError, message: `cfg[1] is 'm'; ${allowedItems}` },
  { what: 'a number as text', value: ['64'], error: RangeError, message: `cfg[0] is '64'; ${allowedItems}` },
  {
    what: 'conv1 of zero channels',
    value: ['conv1-0'],
    error: RangeError,
    message: `cfg[0] is 'conv1-0'; ${allowedItems}`,
  },
  {
    what: 'conv1 of too many channels',
    value: ['conv1-65537'],
    error: RangeError,
    message: `cfg[0] is 'conv1-65537'; ${allowedItems}`,
  },
  {
    what: 'conv1 of no number',
    value: ['conv1-1e3'],
    error: RangeError,
    message: `cfg[0] is 'conv1-1e3'; ${allowedItems}`,
  },
  { what: 'a list in the list', value: [64, [64]], error: TypeError, message: `cfg[1] is [Array]; ${allowedItems}` },
  { what: 'null in the list', value: [null], error: TypeError, message: `cfg[0] is null; ${allowedItems}` },
  {
    what: 'a hole in the list',
    value: new Array(1),
    error: TypeError,
    message: `cfg[0] is undefined; ${allowedItems}`,
  },
];

for (const { what, value, error, message } of refusals) {
  test(`parseCfg refuses ${what}`, () => {
    assert.throws(
      () => parseCfg(value),
      (thrown) => {
        assert.ok(thrown instanceof error);
        assert.equal(thrown.message, message);
        return true;
      },
    );
  });
}
