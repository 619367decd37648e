import { isSize, largestSize, show } from '../network/sizes.js';

/** One item of a cfg list: output channels of a 3x3 convolution, `conv1-N` for a 1x1 one (the paper's notation), max pooling, or local response normalisation. */
export type CfgItem = number | `conv1-${number}` | 'M' | 'LRN';
export type Cfg = readonly CfgItem[];

/** The six columns of table 1 in Simonyan and Zisserman, "Very Deep Convolutional Networks" (arXiv 1409.1556). */
// biome-ignore format: one network, one line
export const cfgs = {
  A: [64, 'M', 128, 'M', 256, 256, 'M', 512, 512, 'M', 512, 512, 'M'],
  'A-LRN': [64, 'LRN', 'M', 128, 'M', 256, 256, 'M', 512, 512, 'M', 512, 512, 'M'],
  B: [64, 64, 'M', 128, 128, 'M', 256, 256, 'M', 512, 512, 'M', 512, 512, 'M'],
  C: [64, 64, 'M', 128, 128, 'M', 256, 256, 'conv1-256', 'M', 512, 512, 'conv1-512', 'M', 512, 512, 'conv1-512', 'M'],
  D: [64, 64, 'M', 128, 128, 'M', 256, 256, 256, 'M', 512, 512, 512, 'M', 512, 512, 512, 'M'],
  E: [64, 64, 'M', 128, 128, 'M', 256, 256, 256, 256, 'M', 512, 512, 512, 512, 'M', 512, 512, 512, 512, 'M'],
} as const satisfies Record<string, Cfg>;

export type CfgName = keyof typeof cfgs;

/** torchvision's builders, by the names in torchvision.models. */
export const builders = {
  vgg11: { cfg: 'A', batchNorm: false },
  vgg11_bn: { cfg: 'A', batchNorm: true },
  vgg13: { cfg: 'B', batchNorm: false },
  vgg13_bn: { cfg: 'B', batchNorm: true },
  vgg16: { cfg: 'D', batchNorm: false },
  vgg16_bn: { cfg: 'D', batchNorm: true },
  vgg19: { cfg: 'E', batchNorm: false },
  vgg19_bn: { cfg: 'E', batchNorm: true },
} as const satisfies Record<string, { cfg: CfgName; batchNorm: boolean }>;

export type BuilderName = keyof typeof builders;

const mostItems = 1000;
const allowedItems = `a number of channels from 1 to ${largestSize}, "conv1-N" with such an N, "M" or "LRN"`;

/**
 * A cfg from outside: the name of one of `cfgs`, or an own list.
 * @throws TypeError for a value of a wrong type, RangeError for a wrong name, number or length; both name the bad item
 */
export function parseCfg(value: unknown): Cfg {
  if (typeof value === 'string') return cfgByName(value);
  if (!Array.isArray(value)) {
    throw new TypeError(`cfg is ${show(value)}; allowed is a name (${Object.keys(cfgs).join(', ')}) or a list.`);
  }
  if (value.length < 1 || value.length > mostItems) {
    throw new RangeError(`cfg is a list of ${value.length} items; allowed are 1 to ${mostItems}.`);
  }
  return Array.from(value, parseItem);
}

function cfgByName(name: string): Cfg {
  if (Object.hasOwn(cfgs, name)) return cfgs[name as CfgName];
  throw new RangeError(`cfg is ${show(name)}; allowed is ${Object.keys(cfgs).join(', ')} or a list.`);
}

function parseItem(item: unknown, index: number): CfgItem {
  if (item === 'M' || item === 'LRN' || isSize(item) || isConv1(item)) return item;
  const message = `cfg[${index}] is ${show(item)}; allowed is ${allowedItems}.`;
  throw typeof item === 'number' || typeof item === 'string' ? new RangeError(message) : new TypeError(message);
}

function isConv1(item: unknown): item is `conv1-${number}` {
  return typeof item === 'string' && isSize(conv1Channels(item));
}

/** The N of `conv1-N`, NaN for any other text. */
export function conv1Channels(item: string): number {
  return Number(/^conv1-([1-9]\d*)$/.exec(item)?.[1]);
}
