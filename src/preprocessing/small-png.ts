import { crc32, inflateSync } from 'node:zlib';
import type { Header } from './container.js';
import { chunks } from './png.js';
import type { Picture } from './resample.js';

/**
 * 64 x 64: up to here it takes a third to a twentieth of the time of libvips (bench/preprocessing.ts), and the event loop
 * stands still for at most 0.2 ms.
 */
const mostPixels = 4096;

/** Bytes a pixel of 8 bits a sample, by colour type. */
const pixelBytes: Readonly<Record<number, 1 | 2 | 3 | 4>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const palette = 3;

/** Chunks before the pixels that say nothing of their RGB, whatever is in them. */
const ignored = ['gAMA', 'cHRM', 'sRGB', 'sBIT', 'bKGD', 'pHYs', 'tRNS', 'tEXt', 'tIME'];

/**
 * Reads a PNG of the plainest kind: small, 8 bits a sample, not interlaced, nothing damaged and nothing unusual in it. It
 * is for the fixed cost of libvips, which is many times that of such a picture, and refuses nothing: whatever is not
 * plain is left to libvips, whose verdict then holds. https://www.w3.org/TR/png-3/
 *
 * @param header as readPngHeader gives it, which has checked the CRC of the chunks before the pixels
 * @returns undefined where it is not plain
 */
export function decodeSmallPng(bytes: Uint8Array, { width, height }: Header): Picture | undefined {
  if (width * height > mostPixels) return undefined;
  const parts = plainParts(bytes, width, height);
  if (!parts) return undefined;
  const rowBytes = width * parts.pixelBytes;
  const lines = inflated(parts.data, (1 + rowBytes) * height);
  const raster = lines && unfiltered(lines, rowBytes, parts.pixelBytes);
  return raster && { pixels: toRgb(raster, width, height, parts), width, height };
}

interface Parts {
  readonly pixelBytes: 1 | 2 | 3 | 4;
  /** RGB of each index. */
  readonly colours: Uint8Array | undefined;
  /** The zlib stream. */
  readonly data: Uint8Array;
}

function plainParts(bytes: Uint8Array, width: number, height: number): Parts | undefined {
  let size: Parts['pixelBytes'] | undefined;
  let isPalette = false;
  let colours: Uint8Array | undefined;
  const data: Uint8Array[] = [];
  for (const { type, start, end, view } of chunks(bytes)) {
    if (end + 4 > bytes.length) return undefined;
    if (size === undefined) {
      if (type !== 'IHDR' || end - start !== 13) return undefined;
      const isPlain = view.getUint8(start + 8) === 8 && view.getUint32(start + 9) << 8 === 0;
      if (!isPlain || view.getUint32(start) !== width || view.getUint32(start + 4) !== height) return undefined;
      const colour = view.getUint8(start + 9);
      isPalette = colour === palette;
      size = pixelBytes[colour];
      if (size === undefined) return undefined;
    } else if (type === 'IDAT') {
      if (view.getUint32(end) !== crc32(bytes.subarray(start - 4, end))) return undefined;
      data.push(bytes.subarray(start, end));
    } else if (data.length > 0) {
      // Behind the pixels there may be only the end.
      const isEnd = type === 'IEND' && end === start && view.getUint32(end) === crc32(bytes.subarray(start - 4, end));
      if (!isEnd || isPalette !== (colours !== undefined)) return undefined;
      return { pixelBytes: size, colours, data: data.length === 1 && data[0] ? data[0] : Buffer.concat(data) };
    } else if (type === 'PLTE' && isPalette && !colours) {
      if (end === start || (end - start) % 3 !== 0 || end - start > 256 * 3) return undefined;
      colours = new Uint8Array(256 * 3); // An index beyond the palette is black.
      colours.set(bytes.subarray(start, end));
    } else if (!ignored.includes(type)) return undefined;
  }
  return undefined;
}

/** @returns undefined unless `data` are one zlib stream of exactly `length` bytes, and nothing else */
function inflated(data: Uint8Array, length: number): Uint8Array | undefined {
  try {
    // With a byte to spare zlib sees the end of the stream in its first call.
    const { buffer, engine } = inflateSync(data, {
      chunkSize: Math.max(length + 1, 64),
      maxOutputLength: length,
      info: true,
    }) as unknown as { buffer: Uint8Array; engine: { bytesWritten: number } };
    return buffer.length === length && engine.bytesWritten === data.length ? buffer : undefined;
  } catch {
    return undefined;
  }
}

/** Pixels of `pixelBytes` bytes, in rows that begin `stride` bytes from each other, the first at `start`. */
interface Raster {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly stride: number;
}

/**
 * Undoes the filters.
 * @param lines each a filter type and `rowBytes` bytes
 * @returns undefined where a filter type is none that there is
 */
function unfiltered(lines: Uint8Array, rowBytes: number, pixelBytes: number): Raster | undefined {
  // A row of zeros above the first one, and a pixel of zeros before each: that is what the filters see there.
  const stride = pixelBytes + rowBytes;
  const start = stride + pixelBytes;
  const bytes = new Uint8Array((1 + lines.length / (1 + rowBytes)) * stride);
  for (let line = 0, row = start; line < lines.length; line += 1 + rowBytes, row += stride) {
    const end = row + rowBytes;
    let from = line + 1;
    switch (lines[line]) {
      case 0:
        bytes.set(lines.subarray(from, from + rowBytes), row);
        break;
      case 1:
        for (let at = row; at < end; at++) bytes[at] = (lines[from++] ?? 0) + (bytes[at - pixelBytes] ?? 0);
        break;
      case 2:
        for (let at = row; at < end; at++) bytes[at] = (lines[from++] ?? 0) + (bytes[at - stride] ?? 0);
        break;
      case 3:
        for (let at = row; at < end; at++) {
          const both = (bytes[at - pixelBytes] ?? 0) + (bytes[at - stride] ?? 0);
          bytes[at] = (lines[from++] ?? 0) + (both >> 1);
        }
        break;
      case 4:
        for (let at = row; at < end; at++) {
          const left = bytes[at - pixelBytes] ?? 0;
          const above = bytes[at - stride] ?? 0;
          bytes[at] = (lines[from++] ?? 0) + paeth(left, above, bytes[at - stride - pixelBytes] ?? 0);
        }
        break;
      default:
        return undefined;
    }
  }
  return { bytes, start, stride };
}

/** Whichever is nearest to left + above - aboveLeft. */
function paeth(left: number, above: number, aboveLeft: number): number {
  const toLeft = Math.abs(above - aboveLeft);
  const toAbove = Math.abs(left - aboveLeft);
  const toAboveLeft = Math.abs(left + above - 2 * aboveLeft);
  if (toLeft <= toAbove && toLeft <= toAboveLeft) return left;
  return toAbove <= toAboveLeft ? above : aboveLeft;
}

/** @returns [height, width, 3]: indexes looked up, grey tripled, alpha dropped */
function toRgb({ bytes, start, stride }: Raster, width: number, height: number, parts: Parts): Uint8Array {
  const { pixelBytes, colours } = parts;
  const pixels = new Uint8Array(width * height * 3);
  const source = colours ?? bytes;
  const [green, blue] = colours || pixelBytes > 2 ? [1, 2] : [0, 0];
  let to = 0;
  for (let y = 0; y < height; y++) {
    let from = start + y * stride;
    for (let x = 0; x < width; x++, from += pixelBytes, to += 3) {
      const red = colours ? 3 * (bytes[from] ?? 0) : from;
      pixels[to] = source[red] ?? 0;
      pixels[to + 1] = source[red + green] ?? 0;
      pixels[to + 2] = source[red + blue] ?? 0;
    }
  }
  return pixels;
}
