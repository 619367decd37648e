import { createRequire } from 'node:module';
import { addonFile } from '../addon-file.js';
import { type Axis, cropAxes, type Preset } from './geometry.js';
import { type Picture, resample } from './resample.js';

/**
 * One instruction set's function of the addon. Writes the pixels that the crop shows and leaves those around them.
 * @param pixels [y.source, x.source, 3]
 * @param result [crop, crop, 3], black
 * @throws TypeError where the sizes do not go together, Error without memory
 */
type NativeResample = (pixels: Uint8Array, x: Axis, y: Axis, crop: number, result: Uint8Array) => void;

interface Addon {
  readonly resamples: Readonly<Record<string, NativeResample>>;
  readonly trim: () => void;
}

export type Resample = (picture: Picture, preset: Preset) => Uint8Array<ArrayBuffer>;

const addon = load();

/**
 * Gives memory that is free back to the system, which takes some milliseconds when there is much of it. Does nothing where
 * the addon is not built or the C library is not glibc.
 */
export const trimMemory: () => void = addon.trim;

/** By instruction set, those that this machine has, the best first; none where the addon is not built or does not load. */
export const nativeResamples: ReadonlyMap<string, Resample> = new Map(
  Object.entries(addon.resamples).map(([isa, native]) => [isa, bound(native)]),
);

/**
 * Below it the registers of AVX-512 take longer to wake up than they save: 0.26 ms instead of 0.23 for 640 x 427; equal at
 * 1600 x 1200; 10 instead of 14 for 4000 x 3000 (bench/preprocessing.ts).
 */
const leastPixelsForAvx512 = 2_097_152;

const forLarge = nativeResamples.values().next().value ?? resample;
const forOthers = nativeResamples.get('avx2') ?? forLarge;

/** The same bytes as `resample` in TypeScript, as fast as they can be had here. */
export function fastestResample(picture: Picture, preset: Preset): Uint8Array<ArrayBuffer> {
  const isLarge = picture.width * picture.height >= leastPixelsForAvx512;
  return isLarge ? forLarge(picture, preset) : forOthers(picture, preset);
}

function load(): Addon {
  const none = { resamples: {}, trim: () => {} };
  const path = addonFile('vgg_resample');
  if (path === undefined) return none;
  try {
    const { trim = none.trim, ...resamples } = createRequire(import.meta.url)(path);
    return { resamples, trim };
  } catch {
    return none;
  }
}

function bound(native: NativeResample): Resample {
  return ({ pixels, width, height }, preset) => {
    const { x, y } = cropAxes(width, height, preset);
    const result = new Uint8Array(preset.crop * preset.crop * 3);
    native(pixels, x, y, preset.crop, result);
    return result;
  };
}
