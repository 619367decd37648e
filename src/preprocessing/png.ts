import { crc32 } from 'node:zlib';
import type { DecodeCost, Ending, Header } from './container.js';
import { latin1 } from './formats.js';
import { corrupt } from './refusals.js';

/** Bytes a pixel of the result. */
const rgb = 3;

/** Far more than any picture has; a hostile file could have millions. */
const mostChunksBeforePixels = 10_000;

/**
 * Reads up to the pixels and checks the CRC of every chunk before them, as Pillow does; it checks none after them.
 * @returns undefined when the bytes end before the pixels begin
 */
export function readPngHeader(bytes: Uint8Array): Header | undefined {
  let header: Header | undefined;
  let seen = 0;
  for (const { type, start, end, view } of chunks(bytes)) {
    if (header && type === 'IDAT') return header;
    if (!header && type !== 'IHDR') throw corrupt('PNG', 'it does not begin with its header');
    if (++seen > mostChunksBeforePixels)
      throw corrupt('PNG', `more than ${mostChunksBeforePixels} chunks precede its pixels`);
    if (end + 4 > bytes.length) return undefined;
    if (view.getUint32(end) !== crc32(bytes.subarray(start - 4, end))) {
      throw corrupt('PNG', `the checksum of its chunk ${JSON.stringify(type)} is wrong`);
    }
    if (header) continue;
    if (end - start < 13) throw corrupt('PNG', 'its header is too short');
    const [width, height] = [view.getUint32(start), view.getUint32(start + 4)];
    const cost = costOf(view.getUint8(start + 8), view.getUint8(start + 9), view.getUint8(start + 12) !== 0);
    header = { format: 'PNG', width, height, cmyk: false, cost };
  }
  return undefined;
}

/** Channels by colour type; those of a palette once it is expanded. */
const channels: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 4, 4: 2, 6: 4 };

/** An interlaced picture is kept as a whole until its last pass, and twice when it is turned. */
function costOf(depth: number, colour: number, interlaced: boolean): DecodeCost {
  const stored = (channels[colour] ?? 4) * (depth > 8 ? 2 : 1);
  if (!interlaced) return { upright: rgb + stored / 8, turned: stored + rgb };
  return { upright: stored + rgb, turned: Math.max(2 * stored, stored + rgb) + 0.5 };
}

/** Cut, where the last chunk is not all there. */
export function pngEnding(bytes: Uint8Array): Ending {
  for (const { type, end } of chunks(bytes)) if (type === 'IEND' && end + 4 <= bytes.length) return 'whole';
  return 'cut';
}

export interface Chunk {
  readonly type: string;
  /** Of the chunk's data; `end` is just past them, where the CRC begins. */
  readonly start: number;
  readonly end: number;
  readonly view: DataView;
}

/** https://www.w3.org/TR/png-3/#5Chunk-layout */
export function* chunks(bytes: Uint8Array): Generator<Chunk> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 8 <= bytes.length; ) {
    const start = at + 8;
    const end = start + view.getUint32(at);
    yield { type: latin1(bytes, at + 4, start), start, end, view };
    at = end + 4;
  }
}
