import type { Header } from './container.js';
import { decode } from './decode.js';
import type { Preset } from './geometry.js';
import { fastestResample } from './native-resample.js';
import { decodeSmallPng } from './small-png.js';

/** A picture that is within the limits, and what to make of it. Plain data: it crosses into a worker. */
export interface CropJob {
  readonly bytes: Uint8Array;
  readonly header: Header;
  readonly preset: Preset;
  readonly exifOrientation: boolean;
}

/**
 * Of a picture for which libvips is not needed.
 * @returns [crop, crop, 3], RGB, in a buffer of its own; undefined for any other picture
 */
export function makeCropAtOnce({ bytes, header, preset }: CropJob): Uint8Array<ArrayBuffer> | undefined {
  const picture = header.format === 'PNG' ? decodeSmallPng(bytes, header) : undefined;
  return picture && fastestResample(picture, preset);
}

/**
 * @returns [crop, crop, 3], RGB, in a buffer of its own
 * @throws ServiceError `image_truncated`, `image_corrupt`
 */
export async function makeCrop({ bytes, header, preset, exifOrientation }: CropJob): Promise<Uint8Array<ArrayBuffer>> {
  return fastestResample(await decode(bytes, header, exifOrientation), preset);
}
