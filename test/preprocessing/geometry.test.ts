import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cropAxes } from '../../src/preprocessing/geometry.js';

test('cropAxes: the short side is resized, the long one truncated', () => {
  const { x, y } = cropAxes(451, 300, { resize: 256, crop: 224 });
  assert.deepEqual([x.resized, y.resized], [384, 256]); // 384.85
  const thin = cropAxes(9, 300, { resize: 256, crop: 224 });
  assert.deepEqual([thin.x.resized, thin.y.resized], [256, 8533]); // 8533.33
});

test('cropAxes: an offset of a half goes to the even side', () => {
  const start = (side: number) => cropAxes(256, side, { resize: 256, crop: 224 }).y.start;
  assert.deepEqual([256, 257, 258, 259, 260, 293, 295].map(start), [16, 16, 17, 18, 18, 34, 36]);
});

test('cropAxes: a crop larger than the picture, with the smaller half of the black before it', () => {
  const { x, y } = cropAxes(100, 140, { resize: 32, crop: 45 });
  assert.deepEqual(x, { source: 100, resized: 32, start: 0, count: 32, offset: 6 });
  assert.deepEqual(y, { source: 140, resized: 44, start: 0, count: 44, offset: 0 });
});
