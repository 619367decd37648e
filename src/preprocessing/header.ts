import type { Header } from './container.js';
import { type Format, sniff } from './formats.js';
import { readJpegHeader } from './jpeg.js';
import { readPngHeader } from './png.js';
import { corrupt, truncated } from './refusals.js';
import { readWebpHeader } from './webp.js';

const readers = {
  JPEG: readJpegHeader,
  PNG: readPngHeader,
  WebP: readWebpHeader,
} satisfies Record<Format, (bytes: Uint8Array) => Header | undefined>;

/**
 * Reads format and size, and nothing of the pixels.
 * @throws ServiceError `not_an_image`, `format_not_allowed`, `image_truncated`, `image_corrupt`
 */
export function readHeader(bytes: Uint8Array): Header {
  const format = sniff(bytes);
  const header = readers[format](bytes);
  if (!header) throw truncated(format, bytes);
  if (header.width === 0 || header.height === 0) {
    throw corrupt(format, `it says that it is ${header.width} x ${header.height} pixels`);
  }
  return header;
}
