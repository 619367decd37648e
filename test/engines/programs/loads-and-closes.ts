/** `node loads-and-closes.js SPEC`: 30 times open, run and close leave neither memory nor files nor threads behind. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { openNative } from '../../../src/engines/native/session.js';

const spec = JSON.parse(process.argv[2] ?? '');
const pixels = new Uint8Array(spec.maxBatchSize * spec.inputSize ** 2 * 3);

async function use(): Promise<void> {
  const engine = await openNative(spec);
  await engine.run(pixels, spec.maxBatchSize);
  const open = kept();
  await engine.close();
  assert.equal(open.mapped, 0);
  assert.ok(open.threads > kept().threads);
}

function kept() {
  const maps = readFileSync('/proc/self/maps', 'utf8');
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    mapped: maps.split('\n').filter((line) => line.includes('weights.bin')).length,
    descriptors: readdirSync('/proc/self/fd').length,
    threads: Number(/^Threads:\s+(\d+)$/m.exec(status)?.[1]),
    rssMb: Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024,
  };
}

for (let round = 0; round < 5; round++) await use(); // what is taken once and for all
const before = kept();
for (let round = 0; round < 30; round++) await use();
const after = kept();
assert.equal(after.threads, before.threads);
assert.equal(after.descriptors, before.descriptors);
// An engine has 23 MB; 30 that stay would be 690. The allocator keeps some of what it was given back for later.
assert.ok(after.rssMb - before.rssMb < 120, JSON.stringify({ before, after }));
