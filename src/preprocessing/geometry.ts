/** What torchvision's `ImageClassification` preset calls resize_size and crop_size, in pixels. */
export interface Preset {
  /** The picture's short side after the resize. */
  readonly resize: number;
  /** Side of the square cut from the middle. Where it is larger than the resized picture, black fills the rest. */
  readonly crop: number;
}

/** One axis of the way from the source to the crop. All in pixels. */
export interface Axis {
  readonly source: number;
  readonly resized: number;
  /** First pixel of the resized picture that the crop shows. */
  readonly start: number;
  /** How many pixels of the resized picture the crop shows. */
  readonly count: number;
  /** Where in the crop they begin: more than 0 only where the crop is larger than the resized picture. */
  readonly offset: number;
}

/** @returns torchvision's resize(size) and center_crop(size) of a `width` x `height` picture, as two independent axes. */
export function cropAxes(width: number, height: number, preset: Preset): { x: Axis; y: Axis } {
  const short = Math.min(width, height);
  return {
    x: cropAxis(width, resizedSide(width, short, preset.resize), preset.crop),
    y: cropAxis(height, resizedSide(height, short, preset.resize), preset.crop),
  };
}

/** torchvision.transforms.functional._compute_resized_output_size: the long side is truncated. */
function resizedSide(side: number, short: number, resize: number): number {
  return Math.trunc((resize * side) / short);
}

/** torchvision.transforms.functional.center_crop: the padding before is rounded down, the offset half to even. */
function cropAxis(source: number, resized: number, crop: number): Axis {
  return resized < crop
    ? { source, resized, start: 0, count: resized, offset: Math.floor((crop - resized) / 2) }
    : { source, resized, start: halfToEven(resized - crop), count: crop, offset: 0 };
}

/** `int(round(n / 2.0))` in Python. */
function halfToEven(n: number): number {
  const half = Math.floor(n / 2);
  return half + (n % 2 === 1 && half % 2 === 1 ? 1 : 0);
}
