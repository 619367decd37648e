import fc from 'fast-check';
import { interesting, mutateBytes } from './mutate.js';
import type { Random } from './random.js';

const names = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'length',
  '',
  '0',
  'data',
  'file',
  'image',
  'images',
];

const anyJson = fc.jsonValue({ maxDepth: 3 });
const anyName = fc.string({ maxLength: 20 });

/** What a value is most often mistaken for. */
export function strangeValue(random: Random): unknown {
  return random.pick<() => unknown>([
    () => null,
    () => random.once(2),
    () => random.pick(interesting) * (random.once(3) ? -1 : 1),
    () => random.pick([0.5, -0, 1e308, 5e-324, 2 ** 53, -1, 1e21]),
    () => random.pick(['', ' ', '\0', '\u202e', 'é'.repeat(5), '\ud800', '../../etc/passwd', 'NaN', '1e9', 'true']),
    () => 'x'.repeat(random.small(20_000)),
    () => [],
    () => ({}),
    () => nested(random.small(200)),
    () => JSON.parse(`{"${random.pick(names)}": {"polluted": 1}}`),
    () => random.value(anyJson),
  ])();
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

/** Another value somewhere inside, a field more, less, renamed or twice. */
export function mutateJson(
  random: Random,
  value: unknown,
  strange: (random: Random) => unknown = strangeValue,
): unknown {
  if (typeof value !== 'object' || value === null || random.once(12)) return strange(random);
  if (Array.isArray(value)) {
    const items = [...value];
    const at = random.below(items.length);
    switch (random.below(5)) {
      case 0:
        items.splice(at, 1);
        break;
      case 1:
        items.splice(at, 0, items.length > 0 ? items[at] : strange(random));
        break;
      case 2:
        items.push(...new Array(random.small(2000)).fill(items[at] ?? null));
        break;
      default:
        items[at] = mutateJson(random, items[at], strange);
    }
    return items;
  }
  const entries = Object.entries(value);
  const at = random.below(entries.length);
  const [name = 'a', inner] = entries[at] ?? [];
  switch (random.below(6)) {
    case 0:
      entries.splice(at, 1);
      break;
    case 1:
      entries.splice(at, 0, [random.once(2) ? random.pick(names) : random.value(anyName), inner]);
      break;
    case 2:
      entries[at] = [random.pick(names), inner];
      break;
    default:
      entries[at] = [name, mutateJson(random, inner, strange)];
  }
  return Object.fromEntries(entries); // A field called __proto__ is a field: no setter is called.
}

/** The text of a value, now and then with a fault of JSON itself. */
export function jsonText(random: Random, value: unknown): Buffer {
  const text = JSON.stringify(value) ?? 'undefined';
  switch (random.below(16)) {
    case 0:
      return mutateBytes(random, Buffer.from(text));
    case 1: {
      const bracket = random.pick(['[', '{"a":']);
      return Buffer.from(bracket.repeat(random.small(100_000)) + text);
    }
    case 2: // A name twice.
      return Buffer.from(text.replace('{', `{"__proto__":{"polluted":1},"image":${text},`));
    case 3:
      return Buffer.concat([Buffer.from(random.pick(['\ufeff', ' ', '\0', '//\n'])), Buffer.from(text)]);
    case 4:
      return Buffer.from(text, random.pick(['utf16le', 'latin1']));
    case 5:
      return Buffer.from(text.replace(/\d+/, random.pick(['1e999', '-0', '01', '0x1', '9'.repeat(400)])));
    default:
      return Buffer.from(text);
  }
}
