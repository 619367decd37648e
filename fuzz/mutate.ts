import type { Random } from './random.js';

/** Where counts wrap, signs turn and limits lie. */
export const interesting = [
  0, 1, 2, 3, 4, 7, 8, 16, 32, 64, 100, 127, 128, 255, 256, 1000, 1023, 1024, 4096, 10_000, 32_767, 32_768, 65_535,
  65_536, 100_000, 1_000_000, 16_777_215, 16_777_216, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff,
] as const;

/** No input grows beyond it by mutation. */
const mostBytes = 2 << 20;

/** One to four changes of the bytes, blind to what they mean. `others` lend pieces. */
export function mutateBytes(random: Random, bytes: Buffer, others: readonly Buffer[] = []): Buffer {
  let changed: Buffer = Buffer.from(bytes);
  for (let times = 1 + random.small(3); times > 0; times--) changed = mutateOnce(random, changed, others);
  return changed.subarray(0, mostBytes);
}

function mutateOnce(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  const at = random.below(bytes.length + 1);
  const length = 1 + random.small(Math.min(bytes.length, 4096));
  switch (random.below(10)) {
    case 0: // One bit.
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      return bytes;
    case 1: // One byte.
      if (at < bytes.length) bytes[at] = random.below(256);
      return bytes;
    case 2:
      return writeNumber(random, bytes, at);
    case 3:
      return insert(bytes, at, random.bytes(length));
    case 4:
      return insert(bytes, at, Buffer.alloc(length, random.pick([0, 0xff, 0x20, 0x30, 0x41])));
    case 5: // A range left out.
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    case 6: // A range twice.
      return insert(bytes, at, bytes.subarray(at, at + length));
    case 7:
      return bytes.subarray(0, at);
    case 8: {
      // A range moved.
      const from = random.below(bytes.length + 1);
      return insert(
        Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)]),
        at,
        bytes.subarray(from, from + length),
      );
    }
    default: {
      // The end of another one.
      const other = others.length > 0 ? random.pick(others) : bytes;
      return Buffer.concat([bytes.subarray(0, at), other.subarray(random.below(other.length + 1))]);
    }
  }
}

function writeNumber(random: Random, bytes: Buffer, at: number): Buffer {
  const width = random.pick([1, 2, 4]);
  const value = random.pick(interesting) % 2 ** (8 * width);
  if (at + width > bytes.length) return bytes;
  if (random.once(2)) bytes.writeUIntLE(value, at, width);
  else bytes.writeUIntBE(value, at, width);
  return bytes;
}

function insert(bytes: Buffer, at: number, inserted: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at)]);
}

/** Drops, doubles, swaps or multiplies items, or takes one of `foreign`. */
export function mutateList<T>(random: Random, items: readonly T[], foreign: readonly T[], most = 2000): T[] {
  const changed = [...items];
  const at = random.below(changed.length);
  const item = changed[at];
  switch (random.below(6)) {
    case 0:
      changed.splice(at, 1);
      break;
    case 1:
      if (item !== undefined) changed.splice(random.below(changed.length + 1), 0, item);
      break;
    case 2: {
      const other = random.below(changed.length);
      const there = changed[other];
      if (item !== undefined && there !== undefined) [changed[at], changed[other]] = [there, item];
      break;
    }
    case 3:
      if (item !== undefined) changed.splice(at, 0, ...new Array<T>(random.small(most)).fill(item));
      break;
    case 4:
      changed.splice(at);
      break;
    default:
      if (foreign.length > 0) changed.splice(random.below(changed.length + 1), 0, random.pick(foreign));
  }
  return changed;
}
