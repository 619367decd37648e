/** A Python value, or opcodes that make one. */
export type Py = null | boolean | number | bigint | string | readonly Py[] | ReadonlyMap<Py, Py> | Opcodes;

export class Opcodes {
  readonly bytes: Buffer;

  constructor(...parts: readonly (string | Uint8Array)[]) {
    this.bytes = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)));
  }
}

/** A whole pickle. An array becomes a list, a Map a dict. */
export function pickled(value: Py, protocol = 2): Buffer {
  return new Opcodes('\x80', Buffer.from([protocol]), opcodesOf(value), '.').bytes;
}

export function tuple(...items: readonly Py[]): Opcodes {
  return new Opcodes('(', ...items.map(opcodesOf), 't');
}

/** @param name `collections.OrderedDict` */
export function imported(name: string): Opcodes {
  const dot = name.lastIndexOf('.');
  return new Opcodes(`c${name.slice(0, dot)}\n${name.slice(dot + 1)}\n`);
}

export function called(name: string, ...args: readonly Py[]): Opcodes {
  return new Opcodes(imported(name).bytes, tuple(...args).bytes, 'R');
}

export function persistent(id: Py): Opcodes {
  return new Opcodes(opcodesOf(id), 'Q');
}

export function opcodesOf(value: Py): Buffer {
  if (value === null) return Buffer.from('N');
  if (value === true) return Buffer.from([0x88]);
  if (value === false) return Buffer.from([0x89]);
  if (typeof value === 'number') return numberOpcodes(value);
  if (typeof value === 'bigint') return long(value);
  if (typeof value === 'string') return sized('X', Buffer.from(value));
  if (value instanceof Opcodes) return value.bytes;
  if (value instanceof Map)
    return new Opcodes('}(', ...[...value].flat().map((item: Py) => opcodesOf(item)), 'u').bytes;
  return new Opcodes('](', ...(value as readonly Py[]).map(opcodesOf), 'e').bytes;
}

function numberOpcodes(value: number): Buffer {
  const bytes = Buffer.alloc(9);
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) {
    bytes.write('J');
    bytes.writeInt32LE(value, 1);
    return bytes.subarray(0, 5);
  }
  if (Number.isInteger(value)) return long(BigInt(value));
  bytes.write('G');
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

function sized(opcode: string, data: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(data.length);
  return new Opcodes(opcode, length, data).bytes;
}

/** LONG1: little-endian two's complement, here always 16 bytes. */
function long(value: bigint): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value >> 64n), 8);
  return new Opcodes('\x8a\x10', bytes).bytes;
}
