import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { crc32, deflateSync } from 'node:zlib';

const fixturesUrl = new URL('../../../test/fixtures/', import.meta.url);

export function fixture(path: string): Buffer<ArrayBuffer> {
  return readFileSync(new URL(path, fixturesUrl));
}

export function picture(name: string): Buffer<ArrayBuffer> {
  return fixture(`images/${name}`);
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What torchvision makes of each picture in images/. */
export interface ReferenceRow {
  readonly file: string;
  readonly size: readonly [width: number, height: number];
  readonly resize: number;
  readonly crop: number;
  readonly decoded_rgb_sha256: string;
  readonly crop_sha256: string;
}

export const referenceRows: readonly ReferenceRow[] = JSON.parse(fixture('preprocessing.json').toString()).rows;

/** Pillow clips it to white, and we do not. */
export const sixteenBitGrey = 'chelsea_grey16.png';

/** A PNG file of the given chunks; IEND comes by itself. */
export function png(...chunks: readonly Uint8Array[]): Buffer<ArrayBuffer> {
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...chunks, pngChunk('IEND')]);
}

export function pngChunk(type: string, data: Uint8Array = new Uint8Array(0)): Buffer<ArrayBuffer> {
  const chunk = Buffer.alloc(12 + data.length);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(type, 4, 'latin1');
  chunk.set(data, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + data.length)), 8 + data.length);
  return chunk;
}

/** @param colour 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha */
export function pngHeader(width: number, height: number, depth = 8, colour = 0): Buffer<ArrayBuffer> {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colour], 8);
  return pngChunk('IHDR', header);
}

export function pngPixels(rows: readonly Uint8Array[]): Buffer<ArrayBuffer> {
  return pngChunk('IDAT', deflateSync(Buffer.concat(rows.flatMap((row) => [Uint8Array.of(0), row]))));
}

/** A black picture. */
export function blackPng(width: number, height: number): Buffer<ArrayBuffer> {
  return png(pngHeader(width, height), pngPixels(Array.from({ length: height }, () => new Uint8Array(width))));
}
