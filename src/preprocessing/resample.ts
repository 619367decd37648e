import { type Axis, cropAxes, type Preset } from './geometry.js';

/** Pixels [height, width, 3], RGB, row-major. */
export interface Picture {
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/**
 * Resize and centre crop, byte for byte as torchvision does with a Pillow picture (bilinear, antialias).
 * Only the rows and columns that the crop shows are computed, so that any aspect ratio is cheap.
 *
 * The scheme is that of Pillow 13.0 (src/libImaging/Resample.c): two passes with a triangle filter, weights in 22-bit
 * fixed point, the result of each pass rounded to bytes.
 *
 * @returns [crop, crop, 3]
 */
export function resample({ pixels, width, height }: Picture, preset: Preset): Uint8Array<ArrayBuffer> {
  const { x, y } = cropAxes(width, height, preset);
  const columns = filterTaps(x);
  const rows = filterTaps(y);
  const source: Part = { pixels, width, left: 0, top: 0 };
  const shown = verticalFirst(x, y)
    ? horizontalPass(verticalPass(source, rows, columns.from, columns.to), columns, 0, y.count)
    : verticalPass(horizontalPass(source, columns, rows.from, rows.to), rows, 0, x.count);
  return framed(shown.pixels, x, y, preset.crop);
}

/** Since 13.0 Pillow begins with the height of a picture that is about twice as tall as wide, or taller, if it shrinks. */
function verticalFirst(x: Axis, y: Axis): boolean {
  return y.resized < y.source && y.source - y.resized > 2 * (x.source - x.resized);
}

/** Black around the pixels, where the crop is larger than the resized picture. */
function framed(shown: Uint8Array<ArrayBuffer>, x: Axis, y: Axis, crop: number): Uint8Array<ArrayBuffer> {
  if (x.count === crop && y.count === crop) return shown;
  const frame = new Uint8Array(crop * crop * 3);
  const rowLength = x.count * 3;
  for (let row = 0; row < y.count; row++) {
    frame.set(shown.subarray(row * rowLength, (row + 1) * rowLength), ((y.offset + row) * crop + x.offset) * 3);
  }
  return frame;
}

const precisionBits = 22;
const half = 1 << (precisionBits - 1);

/** For each pixel that the crop shows: `length` source pixels from `first` on, weighted by its row of `weights`. */
interface Taps {
  readonly first: Int32Array;
  readonly length: Int32Array;
  /**
   * [count, most], fixed point. None is negative, and a row sums to 1 but for the rounding, so that no result needs
   * clamping: Pillow clamps for its other filters.
   */
  readonly weights: Int32Array;
  readonly most: number;
  /** The source pixels that all of them reach: from here up to, not including, `to`. */
  readonly from: number;
  readonly to: number;
}

/** precompute_coeffs and normalize_coeffs_8bpc of Pillow for the triangle filter: float64 until the last step. */
function filterTaps({ source, resized, start, count }: Axis): Taps {
  const scale = source / resized;
  const support = Math.max(scale, 1);
  const most = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(count);
  const length = new Int32Array(count);
  const weights = new Int32Array(count * most);
  const row = new Float64Array(most);
  for (let i = 0; i < count; i++) {
    const center = (start + i + 0.5) * scale;
    const from = Math.max(Math.trunc(center - support + 0.5), 0);
    const taps = Math.min(Math.trunc(center + support + 0.5), source) - from;
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) {
      // Multiplied by the inverse, as Pillow does: a division would round differently.
      const distance = Math.abs((tap + from - center + 0.5) * (1 / support));
      const weight = distance < 1 ? 1 - distance : 0;
      row[tap] = weight;
      sum += weight;
    }
    for (let tap = 0; tap < taps; tap++) {
      weights[i * most + tap] = Math.trunc(0.5 + ((row[tap] ?? 0) / sum) * (1 << precisionBits));
    }
    first[i] = from;
    length[i] = taps;
  }
  const to = (first.at(-1) ?? 0) + (length.at(-1) ?? 0);
  return { first, length, weights, most, from: first[0] ?? 0, to };
}

/** What a pass reads and writes: pixels [height, width, 3] that begin at `left`, `top` of what the taps count in. */
interface Part<Buffer extends ArrayBufferLike = ArrayBufferLike> {
  readonly pixels: Uint8Array<Buffer>;
  readonly width: number;
  readonly left: number;
  readonly top: number;
}

/** @returns the rows from `fromRow` up to, not including, `toRow`, each as wide as the crop shows */
function horizontalPass(part: Part, columns: Taps, fromRow: number, toRow: number): Part<ArrayBuffer> {
  const { pixels, width, left, top } = part;
  const { first, length, weights, most } = columns;
  const result = new Uint8Array((toRow - fromRow) * first.length * 3);
  let to = 0;
  for (let y = fromRow; y < toRow; y++) {
    for (let x = 0; x < first.length; x++) {
      let red = half;
      let green = half;
      let blue = half;
      let from = ((y - top) * width + (first[x] ?? 0) - left) * 3;
      const end = x * most + (length[x] ?? 0);
      for (let tap = x * most; tap < end; tap++) {
        const weight = weights[tap] ?? 0;
        red = (red + Math.imul(pixels[from] ?? 0, weight)) | 0;
        green = (green + Math.imul(pixels[from + 1] ?? 0, weight)) | 0;
        blue = (blue + Math.imul(pixels[from + 2] ?? 0, weight)) | 0;
        from += 3;
      }
      result[to] = red >> precisionBits;
      result[to + 1] = green >> precisionBits;
      result[to + 2] = blue >> precisionBits;
      to += 3;
    }
  }
  return { pixels: result, width: first.length, left: 0, top: fromRow };
}

/** @returns the columns from `fromColumn` up to, not including, `toColumn`, each as high as the crop shows */
function verticalPass(part: Part, rows: Taps, fromColumn: number, toColumn: number): Part<ArrayBuffer> {
  const { pixels, width, left, top } = part;
  const { first, length, weights, most } = rows;
  const rowLength = (toColumn - fromColumn) * 3;
  const result = new Uint8Array(first.length * rowLength);
  const sums = new Int32Array(rowLength);
  for (let y = 0; y < first.length; y++) {
    sums.fill(half);
    for (let tap = 0; tap < (length[y] ?? 0); tap++) {
      const weight = weights[y * most + tap] ?? 0;
      const from = (((first[y] ?? 0) + tap - top) * width + fromColumn - left) * 3;
      for (let i = 0; i < rowLength; i++) {
        sums[i] = (sums[i] ?? 0) + Math.imul(pixels[from + i] ?? 0, weight);
      }
    }
    for (let i = 0; i < rowLength; i++) {
      result[y * rowLength + i] = (sums[i] ?? 0) >> precisionBits;
    }
  }
  return { pixels: result, width: toColumn - fromColumn, left: fromColumn, top: 0 };
}
