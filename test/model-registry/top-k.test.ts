import assert from 'node:assert/strict';
import { test } from 'node:test';
import { softmax, topK } from '../../src/model-registry/top-k.js';

const categories = ['a', 'b', 'c', 'd'];

test('softmax of logits whose exponentials are whole numbers', () => {
  const [first = 0, second = 0] = softmax(new Float32Array([0, Math.log(3)]));
  assert.ok(Math.abs(first - 0.25) < 1e-7);
  assert.ok(Math.abs(second - 0.75) < 1e-7);
});

test('softmax works in float64: its sum is 1 to 15 digits, and its small values do not vanish', () => {
  const probabilities = softmax(Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i) * 30));
  const sum = probabilities.reduce((a, b) => a + b, 0);
  assert.ok(Math.abs(sum - 1) < 1e-15 * 10);
  assert.equal(softmax(new Float32Array([0, -200]))[1], Math.exp(-200));
});

test('softmax of large logits does not overflow', () => {
  assert.deepEqual([...softmax(new Float32Array([3e38, 3e38, -3e38]))], [0.5, 0.5, 0]);
});

test('topK gives label, index and probability, the likeliest first', () => {
  const logits = new Float32Array([0, 2, 1, -1]);
  const probabilities = softmax(logits);
  assert.deepEqual(topK(logits, 2, categories), [
    { label: 'b', index: 1, probability: probabilities[1] },
    { label: 'c', index: 2, probability: probabilities[2] },
  ]);
});

test('topK of equal logits puts the lower index first', () => {
  const indexes = topK(new Float32Array([1, 5, 1, 5]), 4, categories).map(({ index }) => index);
  assert.deepEqual(indexes, [1, 3, 0, 2]);
});

test('topK ranks by logits where probabilities are all 0', () => {
  const predictions = topK(new Float32Array([0, -1002, -1001, -1000]), 4, categories);
  assert.deepEqual(
    predictions.map(({ index, probability }) => [index, probability]),
    [
      [0, 1],
      [3, 0],
      [2, 0],
      [1, 0],
    ],
  );
});

test('topK with k above the number of classes gives all of them', () => {
  assert.equal(topK(new Float32Array([0, 2, 1, -1]), 100, categories).length, 4);
});

test('topK of many, with ties, is the beginning of topK of all', () => {
  const logits = Float32Array.from({ length: 200 }, (_, i) => Math.round(10 * Math.sin(i)));
  const names = Array.from(logits, (_, i) => `class ${i}`);
  const all = topK(logits, 200, names);
  for (const k of [1, 5, 32, 33, 199]) assert.deepEqual(topK(logits, k, names), all.slice(0, k));
});
