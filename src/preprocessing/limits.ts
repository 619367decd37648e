import { ServiceError } from '../errors.js';
import type { Header } from './container.js';

/** What a picture may cost. Checked on the file and its header, before anything is decoded. */
export interface ImageLimits {
  readonly maxBytes: number;
  readonly maxPixels: number;
  /** The long side as a multiple of the short one. */
  readonly maxAspect: number;
}

/** @throws ServiceError `empty_body`, `image_too_many_bytes` */
export function checkBytes({ length }: Uint8Array, { maxBytes }: ImageLimits): void {
  if (length === 0) throw new ServiceError('empty_body', 'The picture has no bytes. Send JPEG, PNG or WebP.');
  if (length > maxBytes) {
    const detail = `The picture has ${length} bytes; it may have at most ${maxBytes}: make it smaller first.`;
    throw new ServiceError('image_too_many_bytes', detail);
  }
}

/** @throws ServiceError `image_too_many_pixels`, `image_extreme_aspect` */
export function checkSize({ width, height }: Header, { maxPixels, maxAspect }: ImageLimits): void {
  const size = `The picture is ${width} x ${height} pixels`;
  if (width * height > maxPixels) {
    const detail = `${size}; it may have at most ${maxPixels} in all: make it smaller first.`;
    throw new ServiceError('image_too_many_pixels', detail);
  }
  if (Math.max(width, height) > maxAspect * Math.min(width, height)) {
    const detail = `${size}; its long side may be at most ${maxAspect} times its short one: crop it first.`;
    throw new ServiceError('image_extreme_aspect', detail);
  }
}
