import type { Dtype } from '../tensor.js';

/** Little-endian numbers that begin where the ArrayBuffer begins, as float32. */
type ToFloat32 = (bytes: ArrayBuffer) => Float32Array<ArrayBuffer>;

// With its fraction moved to float32's place a float16 is too small by 2^(127 - 15), the two exponent biases.
const float16Rebias = 2 ** 112;
const float16Infinity = 0x7c00;
const float32Infinity = 0x7f80_0000;

/** How the dtypes that a weight may have become float32: exactly, but for float64, which is rounded as IEEE 754 rounds. */
export const toFloat32 = {
  float32: (bytes) => new Float32Array(bytes),
  float64: (bytes) => new Float32Array(new Float64Array(bytes)),
  float16: (bytes) => {
    const halves = new Uint16Array(bytes);
    const floats = new Float32Array(halves.length);
    const bits = new Uint32Array(floats.buffer);
    for (let at = 0; at < halves.length; at++) {
      const half = halves[at] as number;
      const magnitude = half & 0x7fff;
      bits[at] = ((half & 0x8000) << 16) | (magnitude << 13);
      if (magnitude < float16Infinity) floats[at] = (floats[at] as number) * float16Rebias;
      else bits[at] = (bits[at] as number) | float32Infinity;
    }
    return floats;
  },
  bfloat16: (bytes) => {
    const halves = new Uint16Array(bytes);
    const bits = new Uint32Array(halves.length);
    for (let at = 0; at < halves.length; at++) bits[at] = (halves[at] as number) << 16;
    return new Float32Array(bits.buffer);
  },
} as const satisfies Partial<Record<Dtype, ToFloat32>>;

export type FloatDtype = keyof typeof toFloat32;

export function isFloatDtype(dtype: Dtype): dtype is FloatDtype {
  return dtype in toFloat32;
}
