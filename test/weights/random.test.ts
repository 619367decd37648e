import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../src/weights/random.js';

// By the C program of xoshiro128**'s authors.
const published = {
  0: [3809008728, 1133695204, 53579671, 2891528803, 139681546, 2203266335, 104831812, 1587294886],
  1: [2442144158, 3238099751, 3819917871, 2104621829, 2021136066, 4223536128, 1515984730, 2298887649],
};

test('uint32 is what the published C program gives for the same state', () => {
  for (const [seed, expected] of Object.entries(published)) {
    const random = new Random(Number(seed));
    assert.deepEqual(
      expected.map(() => random.uint32()),
      expected,
    );
  }
});

/** Mean, standard deviation, skewness and kurtosis. */
function moments(values: Float32Array) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const central = (power: number) => values.reduce((sum, value) => sum + (value - mean) ** power, 0) / values.length;
  const std = Math.sqrt(central(2));
  return { mean, std, skewness: central(3) / std ** 3, kurtosis: central(4) / std ** 4 };
}

function assertNear(seen: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(seen - expected) <= tolerance, `${seen} instead of ${expected}`);
}

test('fillNormal: the moments of a normal distribution, and its tails', () => {
  const values = new Float32Array(200_000);
  new Random(0).fillNormal(values, 0.01);
  const { mean, std, skewness, kurtosis } = moments(values);
  // Five standard errors of each.
  assertNear(mean, 0, 5 * 0.01 * Math.sqrt(1 / 200_000));
  assertNear(std, 0.01, 5 * 0.01 * Math.sqrt(1 / 400_000));
  assertNear(skewness, 0, 5 * Math.sqrt(6 / 200_000));
  assertNear(kurtosis, 3, 5 * Math.sqrt(24 / 200_000));
  const beyond3 = values.filter((value) => Math.abs(value) > 0.03).length;
  assertNear(beyond3, 200_000 * 0.0027, 5 * Math.sqrt(540));
});

test('fillNormal: one number says nothing about the next', () => {
  const values = new Float32Array(200_000);
  new Random(0).fillNormal(values, 1);
  for (const lag of [1, 2]) {
    const product = values.reduce((sum, value, i) => sum + value * (values[i + lag] ?? 0), 0) / values.length;
    assertNear(product, 0, 5 / Math.sqrt(200_000));
  }
});

test('fillNormal of an odd length begins as that of the even one', () => {
  const [odd, even] = [new Float32Array(5), new Float32Array(6)];
  new Random(7).fillNormal(odd, 1);
  new Random(7).fillNormal(even, 1);
  assert.deepEqual([...odd], [...even.subarray(0, 5)]);
});

test('fillUniform: between the bounds, with the moments of a uniform distribution', () => {
  const values = new Float32Array(200_000);
  new Random(0).fillUniform(values, 0.5);
  const { mean, std, kurtosis } = moments(values);
  assertNear(mean, 0, 5 * std * Math.sqrt(1 / 200_000));
  assertNear(std, 1 / Math.sqrt(12), 0.002);
  assertNear(kurtosis, 9 / 5, 0.02);
  assert.ok(values.every((value) => value >= -0.5 && value <= 0.5));
});
