import type { Header } from './container.js';
import { decode } from './decode.js';
import type { Preset } from './geometry.js';
import { fastestResample } from './native-resample.js';

/** A picture that is within the limits, and what to make of it. Plain data: it crosses into a worker. */
export interface CropJob {
  readonly bytes: Uint8Array;
  readonly header: Header;
  readonly preset: Preset;
  readonly exifOrientation: boolean;
}

/**
 * @returns [crop, crop, 3], RGB, in a buffer of its own
 * @throws ServiceError `image_truncated`, `image_corrupt`
 */
export async function makeCrop({ bytes, header, preset, exifOrientation }: CropJob): Promise<Uint8Array<ArrayBuffer>> {
  return fastestResample(await decode(bytes, header, exifOrientation), preset);
}
