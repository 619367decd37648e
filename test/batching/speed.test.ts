import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Ahead, predictMs, restMs, Speed } from '../../src/batching/speed.js';

function speedOf(runs: Readonly<Record<number, number>>, maxBatchSize = 16): Speed {
  const speed = new Speed(maxBatchSize);
  for (const [size, ms] of Object.entries(runs)) speed.learn(Number(size), ms, 0);
  return speed;
}

test('msOf before any run is 0, and nothing is known', () => {
  const speed = new Speed(4);
  assert.equal(speed.isKnown, false);
  assert.deepEqual(
    [1, 2, 3, 4].map((size) => speed.msOf(size)),
    [0, 0, 0, 0],
  );
});

test('msOf of a size that was seen is the exponential average of its runs alone', () => {
  const speed = speedOf({ 1: 10, 8: 40 });
  speed.learn(8, 60, 1);
  assert.equal(speed.msOf(8), 44);
  speed.learn(8, 64, 2);
  assert.equal(speed.msOf(8), 48);
  assert.equal(speed.msOf(1), 10);
});

test('msOf of a size that was not seen: between two, beyond them, and from a single one', () => {
  const speed = speedOf({ 2: 20, 6: 40 });
  assert.deepEqual(
    [1, 2, 4, 5, 6, 8].map((size) => speed.msOf(size)),
    [15, 20, 30, 35, 40, 50],
  );
  const single = speedOf({ 4: 40 });
  assert.deepEqual(
    [1, 8, 16].map((size) => single.msOf(size)),
    [10, 80, 160],
  );
});

test('msOf beyond the sizes that were seen never falls, and never grows faster than entry by entry', () => {
  const falling = speedOf({ 2: 40, 4: 30 });
  assert.deepEqual(
    [1, 8, 16].map((size) => falling.msOf(size)),
    [40, 30, 30],
  );
  const steep = speedOf({ 2: 10, 4: 80 });
  assert.deepEqual(
    [1, 8, 16].map((size) => steep.msOf(size)),
    [5, 160, 320],
  );
});

test('one run in which the engine was started again counts for little', () => {
  const speed = speedOf({ 1: 10 });
  speed.learn(1, 30_000, 1);
  assert.equal(speed.msOf(1), 16);
});

test('a size that no run had for a minute is forgotten once another is seen', () => {
  const speed = speedOf({ 16: 5000 });
  speed.learn(1, 5, 60_000);
  assert.equal(speed.msOf(16), 5000);
  speed.learn(1, 5, 60_001);
  assert.equal(speed.msOf(16), 80);
});

test('predictMs: the run in flight, the full batches before it, and its own batch', () => {
  const { msOf } = bound(speedOf({ 1: 10, 4: 22 }, 4));
  const ahead = (freeInMs: number[], entries: number, readyInMs = 0): Ahead => ({ freeInMs, entries, readyInMs });
  assert.equal(predictMs(ahead([0], 0), 1, 4, msOf), 10);
  assert.equal(predictMs(ahead([7], 0), 1, 4, msOf), 7 + 10);
  assert.equal(predictMs(ahead([7], 3), 1, 4, msOf), 7 + 22);
  assert.equal(predictMs(ahead([7], 4), 1, 4, msOf), 7 + 22 + 10);
  assert.equal(predictMs(ahead([7], 2), 16, 4, msOf), 7 + 4 * 22 + 14, 'its own take five batches');
  assert.equal(
    predictMs(ahead([7, 3], 9), 1, 4, msOf),
    3 + 22 + 14,
    'the first lane takes the first and the third batch',
  );
  assert.equal(predictMs(ahead([900, 3], 9), 1, 4, msOf), 3 + 44 + 14, 'the lane that hangs takes none');
  assert.equal(predictMs(ahead([7], 0, 50), 1, 4, msOf), 50 + 10, 'it is still decoded when the engine is free');
});

test('restMs: what is left of a run, and as long again as it is late', () => {
  assert.deepEqual([restMs(10, 0), restMs(10, 8), restMs(10, 10), restMs(10, 25)], [10, 2, 0, 15]);
});

const runs = fc.dictionary(fc.integer({ min: 1, max: 16 }).map(String), fc.integer({ min: 1, max: 1000 }), {
  minKeys: 1,
});

test('msOf lies between the neighbours that were seen, whatever they are', () => {
  fc.assert(
    fc.property(runs, fc.integer({ min: 1, max: 16 }), (seen, size) => {
      const speed = speedOf(seen);
      const sizes = Object.keys(seen).map(Number);
      const below = Math.max(...sizes.filter((other) => other <= size));
      const above = Math.min(...sizes.filter((other) => other >= size));
      const ms = speed.msOf(size);
      const neighbours = [below, above].filter(Number.isFinite).map((other) => speed.msOf(other));
      if (neighbours.length === 2) {
        assert.ok(ms >= Math.min(...neighbours) - 1e-9 && ms <= Math.max(...neighbours) + 1e-9);
      } else {
        const end = Number.isFinite(below) ? below : above;
        const bounds = [speed.msOf(end), (speed.msOf(end) * size) / end];
        assert.ok(ms >= Math.min(...bounds) - 1e-9 && ms <= Math.max(...bounds) + 1e-9);
      }
    }),
  );
});

test('predictMs is what playing it through gives, batch by batch', () => {
  const load = fc.record({
    freeInMs: fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 4 }),
    entries: fc.nat(300),
    readyInMs: fc.nat(2000),
  });
  const own = fc.integer({ min: 1, max: 40 });
  fc.assert(
    fc.property(runs, load, own, fc.integer({ min: 1, max: 16 }), (seen, ahead, own, maxBatchSize) => {
      const { msOf } = bound(speedOf(seen));
      const lanes = [...ahead.freeInMs];
      let left = ahead.entries + own;
      let answeredAt = 0;
      while (left > 0) {
        const size = Math.min(left, maxBatchSize);
        left -= size;
        const lane = lanes.indexOf(Math.min(...lanes));
        const startsAt = left === 0 ? Math.max(lanes[lane] as number, ahead.readyInMs) : (lanes[lane] as number);
        answeredAt = startsAt + msOf(size);
        lanes[lane] = answeredAt;
      }
      const predicted = predictMs(ahead, own, maxBatchSize, msOf);
      assert.ok(Math.abs(predicted - answeredAt) < 1e-6, `${predicted}, not ${answeredAt}`);
    }),
    { numRuns: 500 },
  );
});

test('predictMs takes no longer for a queue of a million', () => {
  const asked: number[] = [];
  const msOf = (size: number) => {
    asked.push(size);
    return 1;
  };
  assert.equal(predictMs({ freeInMs: [0, 0], entries: 1_000_000, readyInMs: 0 }, 1, 1, msOf), 500_001);
  assert.equal(asked.length, 2);
});

/** `msOf` to be handed on. */
function bound(speed: Speed): { msOf: (size: number) => number } {
  return { msOf: (size) => speed.msOf(size) };
}
