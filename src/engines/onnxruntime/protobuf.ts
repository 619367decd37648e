/**
 * The three wire types of protocol buffers that an ONNX model needs (https://protobuf.dev/programming-guides/encoding):
 * a field is its tag, (number << 3) | wire type, and then its value.
 */
const wireType = { varint: 0, lengthDelimited: 2, fixed32: 5 } as const;

/** An encoded field. A message is the concatenation of its fields, in any order; a repeated field is written once for each value. */
export type Field = Buffer;

export function varintField(number: number, value: number): Field {
  return Buffer.concat([tag(number, wireType.varint), varint(value)]);
}

export function floatField(number: number, value: number): Field {
  const fixed = Buffer.alloc(4);
  fixed.writeFloatLE(value);
  return Buffer.concat([tag(number, wireType.fixed32), fixed]);
}

export function bytesField(number: number, value: Uint8Array): Field {
  return Buffer.concat([fieldHead(number, value.byteLength), value]);
}

/** The beginning of a field of bytes, a string or a message; its `byteLength` bytes follow. */
export function fieldHead(number: number, byteLength: number): Buffer {
  return Buffer.concat([tag(number, wireType.lengthDelimited), varint(byteLength)]);
}

export function stringField(number: number, value: string): Field {
  return bytesField(number, Buffer.from(value, 'utf8'));
}

export function messageField(number: number, fields: readonly Field[]): Field {
  return bytesField(number, Buffer.concat(fields));
}

function tag(number: number, type: number): Buffer {
  return varint(number * 8 + type);
}

/** Seven bits a byte, the lowest first; the high bit says that another byte follows. */
function varint(value: number): Buffer {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} cannot be written as a varint`);
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) + 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
