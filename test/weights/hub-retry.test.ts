import assert from 'node:assert/strict';
import { it } from 'node:test';
import { backoffMs, defaultPatience, retryAfterMs } from '../../src/weights/hub-retry.js';

it('backoffMs doubles up to the longest wait', () => {
  const waits = [1, 2, 3, 4, 5, 6, 7].map((failures) => backoffMs(failures, defaultPatience, 1));
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
});

it('backoffMs takes between half and all of it by chance', () => {
  assert.equal(backoffMs(3, defaultPatience, 0), 1000);
  assert.equal(backoffMs(3, defaultPatience, 0.5), 1500);
});

const now = Date.parse('2025-01-06T10:00:00Z');
const headers: [string | undefined, number | undefined][] = [
  ['0', 0],
  ['120', 120_000],
  [' 5 ', 5000],
  ['Mon, 06 Jan 2025 10:00:30 GMT', 30_000],
  ['Mon, 06 Jan 2025 09:00:00 GMT', 0],
  ['soon', undefined],
  ['', undefined],
  [undefined, undefined],
];
for (const [header, ms] of headers)
  it(`retryAfterMs of ${header}`, () => {
    assert.equal(retryAfterMs(header, now), ms);
  });
