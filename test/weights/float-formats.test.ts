import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { toFloat32 } from '../../src/weights/float-formats.js';

describe('toFloat32', () => {
  const float16 = [
    [0x0000, 0],
    [0x8000, -0],
    [0x3c00, 1],
    [0xc000, -2],
    [0x3555, 0.333251953125],
    [0x7bff, 65504],
    [0x0400, 2 ** -14],
    [0x03ff, 1023 * 2 ** -24],
    [0x0001, 2 ** -24],
    [0x8001, -(2 ** -24)],
    [0x7c00, Number.POSITIVE_INFINITY],
    [0xfc00, Number.NEGATIVE_INFINITY],
    [0x7e00, Number.NaN],
    [0x7c01, Number.NaN],
  ] as const;
  it('float16: normal and subnormal numbers, both zeros, infinities and NaNs', () => {
    const bits = Uint16Array.from(float16, ([pattern]) => pattern);
    assert.deepEqual(
      [...toFloat32.float16(bits.buffer)],
      float16.map(([, value]) => value),
    );
  });

  it('float16: every finite pattern, by its definition', () => {
    const bits = Uint16Array.from({ length: 0x7c00 }, (_, pattern) => pattern);
    const floats = toFloat32.float16(bits.buffer);
    for (const pattern of bits) {
      const exponent = pattern >> 10;
      const fraction = pattern & 0x3ff;
      const value = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
      assert.equal(floats[pattern], value);
    }
  });

  it('bfloat16: the upper half of a float32', () => {
    const bits = Uint16Array.of(0x3f80, 0xc040, 0x8000, 0x0001, 0x7f7f, 0xff80, 0x7fc0);
    assert.deepEqual(
      [...toFloat32.bfloat16(bits.buffer)],
      [1, -3, -0, 2 ** -133, 255 * 2 ** 120, Number.NEGATIVE_INFINITY, Number.NaN],
    );
  });

  it('float64: rounded to the nearest, ties to even, as torch rounds', () => {
    const doubles = Float64Array.of(1 + 2 ** -24, 1 + 3 * 2 ** -24, 1e300, 1e-45, 7e-46, -1.1754942e-38, Number.NaN);
    assert.deepEqual(
      [...toFloat32.float64(doubles.buffer)],
      [1, 1 + 2 ** -22, Number.POSITIVE_INFINITY, 2 ** -149, 0, -1.1754942106924411e-38, Number.NaN],
    );
  });

  it('float32: as it is', () => {
    const floats = Float32Array.of(0.1, -0, Number.NaN);
    assert.deepEqual([...toFloat32.float32(floats.buffer)], [...floats]);
  });
});
