import { ServiceError } from '../errors.js';
import type { Header } from './container.js';

/** What a picture may cost. Checked on the file and its header, before anything is decoded. */
export interface ImageLimits {
  readonly maxBytes: number;
  readonly maxPixels: number;
  /** The long side as a multiple of the short one. */
  readonly maxAspect: number;
}

/** What each pixel that a picture may have may cost while it is decoded; docs/images.md has what each kind does cost. */
export const mostBytesPerPixel = 16;

/** What the picture costs at most while it is decoded, in bytes. */
export function decodeBytes({ width, height, cost }: Header, exifOrientation: boolean): number {
  return width * height * (exifOrientation ? cost.turned : cost.upright);
}

/** @throws ServiceError `empty_body`, `image_too_many_bytes` */
export function checkBytes({ length }: Uint8Array, { maxBytes }: ImageLimits): void {
  if (length === 0) throw new ServiceError('empty_body', 'The picture has no bytes. Send JPEG, PNG or WebP.');
  if (length > maxBytes) {
    const detail = `The picture has ${length} bytes; it may have at most ${maxBytes}: make it smaller first.`;
    throw new ServiceError('image_too_many_bytes', detail);
  }
}

/**
 * @param exifOrientation whether the picture is turned as its EXIF says
 * @throws ServiceError `image_too_many_pixels`, `image_extreme_aspect`
 */
export function checkSize(header: Header, { maxPixels, maxAspect }: ImageLimits, exifOrientation: boolean): void {
  const { width, height } = header;
  const size = `The picture is ${width} x ${height} pixels`;
  if (width * height > maxPixels) {
    const detail = `${size}; it may have at most ${maxPixels} in all: make it smaller first.`;
    throw new ServiceError('image_too_many_pixels', detail);
  }
  const bytes = decodeBytes(header, exifOrientation);
  if (bytes > maxPixels * mostBytesPerPixel) {
    const detail =
      `${size} and takes ${bytes} bytes to decode as it is stored; it may take at most ` +
      `${maxPixels * mostBytesPerPixel}: make it smaller, or store it with 8 bits a sample, not interlaced.`;
    throw new ServiceError('image_too_many_pixels', detail);
  }
  if (Math.max(width, height) > maxAspect * Math.min(width, height)) {
    const detail = `${size}; its long side may be at most ${maxAspect} times its short one: crop it first.`;
    throw new ServiceError('image_extreme_aspect', detail);
  }
}
