import fc from 'fast-check';
import { jsonText, mutateJson, strangeValue } from './json.js';
import { interesting, mutateBytes, mutateList } from './mutate.js';
import type { Random } from './random.js';

// Made once: each takes much longer to make than to draw from.
const anyText = fc.string({ unit: fc.nat(0xffff).map((code) => String.fromCharCode(code)), maxLength: 12 });
const anyWord = fc.string({ maxLength: 12 });

const cfgItems = [
  'M',
  'LRN',
  'conv1-4',
  'conv1-',
  'conv1-0',
  'conv1-99999999',
  'conv1--1',
  'm',
  'A',
  0,
  1,
  4,
  64,
  -3,
  1.5,
  65_536,
  65_537,
  null,
  ['M'],
];

function strangeField(random: Random): unknown {
  if (!random.once(3)) return strangeValue(random);
  if (random.once(6)) return new Array(random.small(30_000)).fill(random.pick(cfgItems));
  return random.once(3)
    ? random.pick(['A', 'A-LRN', 'E', 'D ', 'vgg16', 'vgg16_bn', 'resnet50', 'toString'])
    : Array.from({ length: random.small(40) }, () => random.pick(cfgItems));
}

/** The text of a manifest in which something is wrong. */
export function manifestText(random: Random, pool: readonly Buffer[]): Buffer {
  const base = random.pick(pool);
  let value: unknown;
  try {
    value = JSON.parse(base.toString());
  } catch {
    return mutateBytes(random, base, pool);
  }
  for (let times = 1 + random.small(4); times > 0; times--) value = mutateJson(random, value, strangeField);
  return jsonText(random, value);
}

/** The text of a list of categories in which something is wrong. */
export function categoriesText(random: Random, pool: readonly Buffer[]): Buffer {
  switch (random.below(4)) {
    case 0:
      return mutateBytes(random, random.pick(pool), pool);
    case 1:
      return jsonText(random, mutateJson(random, ['a', 'b', 'c']));
    case 2:
      return jsonText(random, mutateJson(random, { a: 0, b: 1, c: random.pick(interesting) }));
    default: {
      const lines = mutateList(random, ['a', 'b', 'c'], ['', ' ', '\0', '\ufeff', random.value(anyText)]);
      return Buffer.from(
        random.pick(['', '\ufeff', '\n']) +
          lines.join(random.pick(['\n', '\r\n', '\r'])) +
          random.pick(['', '\n', '\r\n\r\n']),
      );
    }
  }
}

/** Arguments of the command, one a line. */
export function argumentLines(random: Random, flags: readonly string[]): Buffer {
  const values = [
    '',
    '0',
    '1',
    '-1',
    '5',
    '1e9',
    '1.5',
    'NaN',
    'Infinity',
    '1MB',
    '1 GB',
    '99999999999999999999',
    'true',
    'gpu:0',
    'gpu:0,0',
    'gpu:',
    'gpu:99999',
    'cpu',
    '__proto__',
    'http://',
    'http://a/b?c',
    '256,224',
    '1x1',
    '32,32,1,2,3,4,5,6',
    ',',
    '0x0',
    '--',
    '-',
    '٣',
  ];
  const words: string[] = [];
  for (let count = random.small(8); count > 0; count--) {
    const flag = random.once(8) ? random.value(anyWord) : random.pick(flags);
    const value = random.once(6) ? random.value(anyText) : random.pick(values);
    words.push(...(random.once(3) ? [`${flag}=${value}`] : random.once(4) ? [flag] : [flag, value]));
  }
  return Buffer.from(words.map((word) => word.replaceAll('\n', ' ')).join('\n'));
}

const frameTypes = 8;

/** Frames of the engine's protocol in which something is wrong. */
export function frameBytes(random: Random, pool: readonly Buffer[]): Buffer {
  if (random.once(2)) return mutateBytes(random, random.pick(pool), pool);
  const frames: Buffer[] = [];
  for (let count = 1 + random.small(6); count > 0; count--) {
    const body = random.pick<() => Buffer>([
      () => random.bytes(random.small(300)),
      () => jsonText(random, mutateJson(random, { engine: 'native', spec: { layers: [] }, version: '1' })),
      () => Buffer.alloc(random.small(100)),
    ])();
    const header = Buffer.alloc(8);
    header.writeUInt32LE(random.once(6) ? random.pick(interesting) : body.length);
    header.writeUInt32LE(random.once(12) ? random.pick(interesting) : random.below(frameTypes), 4);
    frames.push(header, body);
  }
  return Buffer.concat(frames);
}
