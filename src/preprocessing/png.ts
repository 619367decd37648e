import { crc32 } from 'node:zlib';
import type { Ending, Header } from './container.js';
import { latin1 } from './formats.js';
import { corrupt } from './refusals.js';

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
    header = { format: 'PNG', width: view.getUint32(start), height: view.getUint32(start + 4), cmyk: false };
  }
  return undefined;
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
