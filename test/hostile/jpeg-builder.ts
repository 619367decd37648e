export const SOI = Buffer.of(0xff, 0xd8);
export const EOI = Buffer.of(0xff, 0xd9);

/** A marker with its length and data. */
export function segment(code: number, data: Uint8Array = new Uint8Array(0)): Buffer {
  return Buffer.concat([Buffer.of(0xff, code), uint16(data.length + 2), data]);
}

export interface Frame {
  readonly width: number;
  readonly height: number;
  /** The marker. @default 0xc0, baseline */
  readonly code?: number;
  readonly channels?: number;
  readonly bits?: number;
  /** Of the channels, 4 bits across and 4 down. @default all 0x11 */
  readonly sampling?: readonly number[];
}

export function frame({ width, height, code = 0xc0, channels = 3, bits = 8, sampling = [] }: Frame): Buffer {
  const rows = Array.from({ length: channels }, (_, channel) => [channel + 1, sampling[channel] ?? 0x11, 0]);
  return segment(code, Buffer.from([bits, ...uint16(height), ...uint16(width), channels, ...rows.flat()]));
}

/** All ones. @param table 16 bits an entry from 0x10 on */
export function quantisation(table = 0): Buffer {
  return segment(0xdb, Buffer.concat([Buffer.of(table), Buffer.alloc(table >= 0x10 ? 128 : 64, 1)]));
}

/** A Huffman table of one symbol, whose code is the bit 0. @param table 0x00 for DC, 0x10 for AC */
export function huffman(table: number, symbol: number): Buffer {
  return segment(0xc4, Buffer.from([table, 1, ...new Array(15).fill(0), symbol]));
}

/** @param channels from 1 */
export function scan(channels: readonly number[], first = 0, last = 63, bits = 0): Buffer {
  return segment(
    0xda,
    Buffer.from([channels.length, ...channels.flatMap((channel) => [channel, 0]), first, last, bits]),
  );
}

export function adobe(transform: number): Buffer {
  return segment(0xee, Buffer.from([...Buffer.from('Adobe'), 0, 100, 0, 0, 0, 0, transform]));
}

export const allChannels = (count: number) => Array.from({ length: count }, (_, channel) => channel + 1);

/** Grey, at two bits for each 8 x 8 of a channel. @param more goes before the frame */
export function blank(shape: Frame, ...more: readonly Uint8Array[]): Buffer {
  const { channels = 3 } = shape;
  const pixels = Buffer.alloc(Math.ceil((blocks(shape) * channels * 2) / 8));
  return Buffer.concat([
    SOI,
    ...more,
    quantisation(),
    frame(shape),
    huffman(0, 0),
    huffman(0x10, 0),
    scan(allChannels(channels)),
    pixels,
    EOI,
  ]);
}

/** Progressive: a scan of the averages, then so many that say that all else is zero, at 15 bits for 32,767 blocks. */
export function blankProgressive(shape: Frame, scans: number, ...more: readonly Uint8Array[]): Buffer {
  const { channels = 3 } = shape;
  const runs = Math.ceil(blocks(shape) / 32_767);
  const bits = `${`0${'1'.repeat(14)}`.repeat(runs)}1111111`;
  const bytes = Array.from({ length: Math.floor(bits.length / 8) }, (_, at) =>
    Number.parseInt(bits.slice(at * 8, at * 8 + 8), 2),
  );
  const run = Buffer.from(bytes.flatMap((byte) => (byte === 0xff ? [0xff, 0] : [byte])));
  return Buffer.concat([
    SOI,
    ...more,
    quantisation(),
    frame({ code: 0xc2, ...shape }),
    huffman(0, 0),
    huffman(0x10, 0xe0),
    scan(allChannels(channels), 0, 0),
    Buffer.alloc(Math.ceil((blocks(shape) * channels) / 8)),
    ...Array.from({ length: scans }, (_, at) => [scan([1 + (at % channels)], 1, 63), run]).flat(),
    EOI,
  ]);
}

function blocks({ width, height }: Frame): number {
  return Math.ceil(width / 8) * Math.ceil(height / 8);
}

function uint16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 255);
}
