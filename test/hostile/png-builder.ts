import { png, pngChunk } from '../preprocessing/fixtures.js';
import { zeroStream } from './zero-stream.js';

export interface PngShape {
  readonly width: number;
  readonly height: number;
  readonly depth?: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha. @default 0 */
  readonly colour?: number;
  readonly compression?: number;
  readonly filter?: number;
  readonly interlace?: number;
}

export function header(shape: PngShape): Buffer {
  const { width, height, depth = 8, colour = 0, compression = 0, filter = 0, interlace = 0 } = shape;
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data.set([depth, colour, compression, filter, interlace], 8);
  return pngChunk('IHDR', data);
}

/** Black pixels. @param bytes of the inflated stream, where they are not those that the picture has */
export function pixels(shape: PngShape, bytes = rawBytes(shape)): Buffer {
  return pngChunk('IDAT', zeroStream(bytes));
}

/** A black picture, its size no matter. @param more goes before the pixels */
export function blank(shape: PngShape, ...more: readonly Uint8Array[]): Buffer {
  const palette = shape.colour === 3 ? [pngChunk('PLTE', Buffer.alloc(3))] : [];
  return png(header(shape), ...palette, ...more, pixels(shape));
}

/** zTXt and the like: a keyword, the method 0, and the stream. */
export function compressedChunk(type: 'zTXt' | 'iTXt' | 'iCCP', stream: Uint8Array): Buffer {
  const head = type === 'iTXt' ? 'key\0\x01\0\0\0' : 'key\0\0';
  return pngChunk(type, Buffer.concat([Buffer.from(head, 'latin1'), stream]));
}

/** Start and distance of the pixels of each Adam7 pass. */
const passes: readonly (readonly [x: number, y: number, across: number, down: number])[] = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];
const channels: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

function rawBytes({ width, height, depth = 8, colour = 0, interlace = 0 }: PngShape): number {
  return (interlace ? passes : [[0, 0, 1, 1] as const]).reduce((sum, [x, y, across, down]) => {
    const columns = Math.max(0, Math.ceil((width - x) / across));
    const rows = Math.max(0, Math.ceil((height - y) / down));
    return columns === 0 ? sum : sum + rows * (1 + Math.ceil((columns * (channels[colour] ?? 1) * depth) / 8));
  }, 0);
}
