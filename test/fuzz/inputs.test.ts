import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { minimise } from '../../fuzz/minimise.js';
import { Random } from '../../fuzz/random.js';
import { readRequest, requestBytes } from '../../fuzz/requests.js';
import { type Target, type TargetName, targets } from '../../fuzz/targets.js';

describe('the same seed makes the same inputs, another one others', () => {
  for (const name of Object.keys(targets) as TargetName[]) {
    test(name, () => {
      const target: Target = targets[name];
      const pool = target.seeds();
      const inputs = (seed: number) =>
        Array.from({ length: 40 }, (_, at) =>
          target.make(new Random(`${seed} ${name} ${at}`), pool).toString('base64'),
        );
      const first = inputs(1);
      assert.deepEqual(inputs(1), first);
      assert.notDeepEqual(inputs(2), first);
      assert.ok(new Set(first).size > 10);
    });
  }
});

test('Random spreads evenly and within its limits', () => {
  const random = new Random('a');
  const counts = new Array(10).fill(0);
  for (let draw = 0; draw < 10_000; draw++) counts[random.below(10)]++;
  for (const count of counts) assert.ok(count > 800 && count < 1200, String(counts));
  for (let draw = 0; draw < 1000; draw++) assert.ok(random.small(300) <= 300);
});

test('minimise() leaves what the fault needs', async () => {
  const input = Buffer.from(`${'x'.repeat(500)}A${'y'.repeat(300)}B${'z'.repeat(100)}`);
  const fails = async (one: Buffer) => one.includes('A') && one.includes('B');
  assert.equal((await minimise(input, fails, 1000)).toString(), 'AB');
});

test('minimise() runs no oftener than it may', async () => {
  let runs = 0;
  await minimise(
    Buffer.alloc(100),
    async () => {
      runs++;
      return false;
    },
    3,
  );
  assert.equal(runs, 3);
});

test('readRequest() gives back what requestBytes() wrote', () => {
  const request = {
    method: 'POST',
    target: '/classify?top_k=1',
    version: 'HTTP/1.1',
    headers: [
      ['host', 'a'],
      ['x', 'b: c'],
    ] as const,
    body: Buffer.from('\r\n\r\nbody'),
  };
  assert.deepEqual(readRequest(requestBytes(request)), request);
  assert.equal(readRequest(Buffer.from('GET / HTTP/1.1\r\n')), undefined);
});
