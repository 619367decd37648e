import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startEngine } from '../../src/engines/process.js';
import { EngineLostError } from '../../src/errors.js';
import { buildNetwork } from '../../src/vgg/network.js';
import { randomPixels, relativeError, specOf, writeOwnWeights } from '../engines/test-networks.js';

const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-tfjs-'));
after(() => rmSync(folder, { recursive: true }));

const network = buildNetwork({
  cfg: [16, 16, 'M', 32, 32, 'M', 64, 'M'],
  pool: [4, 4],
  hidden: 128,
  classes: 10,
  batchNorm: true,
});
const spec = specOf(network, 64, writeOwnWeights(network, folder).tensors);
const pixels = randomPixels(spec.maxBatchSize, spec.inputSize);

function residentMb(pid: number): number {
  const [, kB] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kB) / 1024;
}

// The engine itself refuses an answer after which there are more tensors than before it.
test('1,000 batches: the same answers, no more tensors, no more memory', async (t) => {
  const engine = await startEngine(spec, { engine: 'tfjs' });
  t.after(() => engine.close());
  const pid = engine.pid ?? Number.NaN;
  const first = await engine.run(pixels, spec.maxBatchSize);
  const resident: number[] = [];
  for (let run = 1; run <= 1000; run++) {
    const n = 1 + (run % spec.maxBatchSize);
    const { logits } = await engine.run(pixels.subarray(0, n * spec.inputSize ** 2 * 3), n);
    assert.ok(relativeError(logits, [...first.logits.subarray(0, logits.length)]) < 1e-5);
    if (run % 100 === 0) resident.push(residentMb(pid));
  }
  assert.equal(engine.pid, pid);
  const [early = 0] = resident.slice(1);
  const late = resident.at(-1) ?? Number.NaN;
  t.diagnostic(`resident after each 100 batches: ${resident.map((mb) => mb.toFixed(0)).join(', ')} MB`);
  assert.ok(late < early * 1.05 + 5, `${late} MB after 1,000 batches, ${early} MB after 200`);
});

test('killed in the middle of a batch: another process takes its place, with the same answer', async (t) => {
  const reasons: string[] = [];
  const engine = await startEngine(spec, { engine: 'tfjs', onRestart: (reason) => reasons.push(reason) });
  t.after(() => engine.close());
  const expected = await engine.run(pixels, spec.maxBatchSize);
  const running = engine.run(pixels, spec.maxBatchSize);
  process.kill(engine.pid ?? Number.NaN, 'SIGKILL');
  await assert.rejects(running, EngineLostError); // Who sent it decides whether it is run again: the batcher.
  const { logits } = await engine.run(pixels, spec.maxBatchSize);
  assert.ok(relativeError(logits, [...expected.logits]) < 1e-5);
  assert.deepEqual(reasons, ['killed by SIGKILL']);
});
