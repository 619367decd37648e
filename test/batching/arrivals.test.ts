import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arrivals } from '../../src/batching/arrivals.js';
import { stopClock } from './held-engine.js';

test('a request counts as one while it is uploaded, and then with its entries until each is ready', () => {
  const arrivals = new Arrivals();
  const counts = () => [arrivals.uploading, arrivals.inWork];
  const [a, b] = [arrivals.begin(), arrivals.begin()];
  assert.deepEqual(counts(), [2, 0]);
  a.expect(3);
  assert.deepEqual(counts(), [1, 3]);
  a.arrived();
  assert.deepEqual(counts(), [1, 2]);
  a.end();
  a.end();
  assert.deepEqual(counts(), [1, 0]);
  a.arrived(); // of what was given up
  assert.deepEqual(counts(), [1, 0]);
  b.end();
  assert.deepEqual(counts(), [0, 0]);
});

test('an upload that takes more than a second is not counted any more, and its entries are when they are here', async (t) => {
  const advance = stopClock(t);
  const arrivals = new Arrivals();
  const slow = arrivals.begin();
  await advance(999);
  arrivals.begin();
  assert.equal(arrivals.uploading, 2);
  await advance(1);
  assert.equal(arrivals.uploading, 1);
  slow.expect(2);
  assert.deepEqual([arrivals.uploading, arrivals.inWork], [1, 2]);
  slow.end();
  assert.deepEqual([arrivals.uploading, arrivals.inWork], [1, 0]);
});

test('readyInMs comes near the time from one entry to the next, and idle time does not count', async (t) => {
  const advance = stopClock(t);
  const arrivals = new Arrivals();
  assert.equal(arrivals.readyInMs(5), 0);
  for (let round = 0; round < 60; round++) {
    const arrival = arrivals.begin();
    arrival.expect(2);
    await advance(4);
    arrival.arrived();
    await advance(4);
    arrival.arrived();
    await advance(1000);
  }
  assert.ok(Math.abs(arrivals.readyInMs(5) - 20) < 0.01, String(arrivals.readyInMs(5)));
});
