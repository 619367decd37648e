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

export type Resample = (picture: Picture, preset: Preset) => Uint8Array<ArrayBuffer>;

/** By instruction set, those that this machine has, the fastest first; none where the addon is not built or does not load. */
export const nativeResamples: ReadonlyMap<string, Resample> = new Map(
  Object.entries(load()).map(([isa, native]) => [isa, bound(native)]),
);

/** The same bytes as `resample` in TypeScript, as fast as they can be had here. */
export const fastestResample: Resample = nativeResamples.values().next().value ?? resample;

function load(): Readonly<Record<string, NativeResample>> {
  const path = addonFile('vgg_resample');
  if (path === undefined) return {};
  try {
    return createRequire(import.meta.url)(path) as Record<string, NativeResample>;
  } catch {
    return {};
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
