import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPlan } from '../../src/engines/native/plan.js';
import type { Layer } from '../../src/network/layer.js';

const linear = { kind: 'linear', inFeatures: 2, outFeatures: 2 } as const;
const layers: readonly Layer[] = [
  { kind: 'flatten', name: 'flatten' },
  { ...linear, name: 'classifier.0' },
  { kind: 'dropout', name: 'classifier.2', p: 0.5 },
  { ...linear, name: 'classifier.3' },
];
const steps = [
  { layer: -1, kind: 'normalise', out: [3, 4, 4] },
  { layer: 1, kind: 'linear', relu: true },
  { layer: 2, kind: 'linear' },
];

test('readPlan: names in place of indices, which do not count what is not run; all else as it was', () => {
  assert.deepEqual(readPlan(JSON.stringify({ precision: 'bf16', layers: steps }), { layers, precision: 'bf16' }), [
    { layer: null, kind: 'normalise', out: [3, 4, 4] },
    { layer: 'classifier.0', kind: 'linear', relu: true },
    { layer: 'classifier.3', kind: 'linear' },
  ]);
});

test('readPlan of an addon that computes in another precision, or is older than precisions', () => {
  const message = (seen: string) => new RegExp(`computes in ${seen}, not in bf16: .* Build it again`);
  for (const [precision, seen] of [
    ['fp32', 'fp32'],
    [undefined, 'fp32'],
    ['bf16-classifier', 'bf16-classifier'],
  ] as const) {
    const json = JSON.stringify({ precision, layers: steps });
    assert.throws(() => readPlan(json, { layers, precision: 'bf16' }), { message: message(seen) });
  }
  assert.equal(readPlan(JSON.stringify({ layers: steps }), { layers, precision: 'fp32' }).length, 3);
});
