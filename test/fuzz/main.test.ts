import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { watchTarget } from '../../fuzz/watch.js';

const main = fileURLToPath(new URL('../../fuzz/main.js', import.meta.url));
const run = (...words: string[]) => spawnSync(process.execPath, [main, ...words], { encoding: 'utf8' });

test('main --json prints one line of JSON, and exits with 0 without findings', () => {
  const corpus = join(tmpdir(), 'vgg-serve-no-corpus');
  const { status, stdout } = run('--seconds', '1', '--seed', '7', '--target', 'protocol', '--corpus', corpus, '--json');
  assert.equal(status, 0);
  const { seconds, seed, inputs, findings, targets } = JSON.parse(stdout);
  assert.deepEqual({ seconds, seed, findings }, { seconds: 1, seed: 7, findings: 0 });
  assert.equal(inputs, targets.protocol.inputs);
  assert.ok(inputs > 0 && targets.protocol.peakBytes > 0);
  assert.equal(existsSync(corpus), false);
});

test('main exits with 2 and tells the usage for what it does not know', () => {
  for (const words of [['--target', 'nobody'], ['--seconds', '0'], ['--seed', 'x'], ['--nonsense'], ['word']]) {
    const { status, stderr } = run(...words);
    assert.equal(status, 2, words.join(' '));
    assert.match(stderr, /usage: npm run fuzz/);
  }
});

for (const [what, program, finding] of [
  ['dies', 'ends.js', /the process ended \(SIGABRT\)/],
  ['hangs', 'hangs.js', /hangs: more than 1 s of CPU time/],
] as const) {
  test(`an input over which the process ${what} is saved as a finding`, async (t) => {
    const corpus = mkdtempSync(join(tmpdir(), 'vgg-serve-corpus-'));
    t.after(() => rmSync(corpus, { recursive: true }));
    const task = { target: 'protocol', seed: 1, ms: 600_000, corpus, grow: false } as const;
    const { findings } = await watchTarget(task, {
      program: new URL(`./programs/${program}`, import.meta.url),
      hang: { cpuSeconds: 1, wallMs: 90_000 },
      mostStarts: 2,
    });
    assert.equal(findings.length, 1, 'the second one is the same');
    assert.match(findings[0]?.finding ?? '', finding);
    assert.deepEqual(
      readdirSync(join(corpus, 'protocol')).map((name) => name.replace(/^\w{12}/, '')),
      ['.bin', '.bin.expected.json'],
    );
  });
}

test('a process whose beats nobody has read for want of the processor does not hang', async (t) => {
  const corpus = mkdtempSync(join(tmpdir(), 'vgg-serve-corpus-'));
  t.after(() => rmSync(corpus, { recursive: true }));
  const task = { target: 'protocol', seed: 1, ms: 600_000, corpus, grow: false } as const;
  const report = watchTarget(task, {
    program: new URL('./programs/beats.js', import.meta.url),
    hang: { cpuSeconds: 0.3, wallMs: 90_000 },
  });
  setTimeout(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500), 500);
  const { inputs, findings } = await report;
  assert.deepEqual({ inputs, findings }, { inputs: 40, findings: [] });
});
