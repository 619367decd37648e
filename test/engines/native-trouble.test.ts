/** What the native engine does with files that change, without memory, and when it is ended in the middle. Linux only, as it is. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { EngineResult, EngineSpec } from '../../src/engines/engine.js';
import { isAddonBuilt } from '../../src/engines/native/addon.js';
import { openNative } from '../../src/engines/native/session.js';
import { type EngineProcess, startEngine } from '../../src/engines/process.js';
import { buildNetwork } from '../../src/vgg/network.js';
import { randomPixels, specOf, tinySpec, writeOwnWeights } from './test-networks.js';

const skip = isAddonBuilt() ? false : 'its addon is not built';
const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-native-trouble-'));
after(() => rmSync(folder, { recursive: true }));
const ownFolder = () => mkdtempSync(join(folder, 'own-'));

async function start(t: TestContext, spec: EngineSpec): Promise<{ engine: EngineProcess; restarts: string[] }> {
  const restarts: string[] = [];
  const engine = await startEngine(spec, { engine: 'native', onRestart: (reason) => restarts.push(reason) });
  t.after(() => engine.close());
  return { engine, restarts };
}

const filesOf = (spec: EngineSpec) => [...new Set(spec.tensors.map(({ path }) => path))];

describe('a file of weights that, while it is served,', { skip }, () => {
  for (const [what, change] of [
    ['is cut', (path: string) => truncateSync(path, statSync(path).size - 1)],
    ['is emptied', (path: string) => truncateSync(path, 0)],
    ['grows', (path: string) => writeFileSync(path, 'more', { flag: 'a' })],
    ['is written over in place', (path: string) => writeFileSync(path, readFileSync(path).fill(7), { flag: 'r+' })],
    ['is moved', (path: string) => renameSync(path, `${path}.old`)],
    ['is deleted', (path: string) => rmSync(path)],
  ] as const) {
    test(`${what}: the answers stay, since its weights were copied when the model was loaded`, async (t) => {
      const spec = tinySpec(ownFolder());
      const pixels = randomPixels(2, spec.inputSize);
      const { engine, restarts } = await start(t, spec);
      const { logits } = await engine.run(pixels, 2);
      for (const path of filesOf(spec)) change(path);
      for (let batch = 0; batch < 2; batch++) assert.deepEqual((await engine.run(pixels, 2)).logits, logits);
      assert.deepEqual(restarts, []);
    });
  }
});

/** A batch of it takes a good tenth of a second. */
function slowSpec(): EngineSpec {
  const network = buildNetwork({ cfg: [64, 64, 64, 'M'], batchNorm: false, pool: [7, 7], hidden: 256, classes: 5 });
  return {
    ...specOf(network, 192, writeOwnWeights(network, ownFolder()).tensors),
    maxBatchSize: 8,
    threads: 2,
  };
}

/** Its engine takes 23 MB. */
function mediumSpec(): EngineSpec {
  const network = buildNetwork({ cfg: [32, 'M', 64, 'M'], batchNorm: false, pool: [7, 7], hidden: 512, classes: 5 });
  return { ...specOf(network, 64, writeOwnWeights(network, ownFolder()).tensors), threads: 2 };
}

/** Begins a run, and returns when the process is stopped in the middle of it: it has computed, and has not answered. */
async function stoppedInRun(engine: EngineProcess, pixels: Uint8Array): Promise<{ answer: Promise<EngineResult> }> {
  for (;;) {
    const pid = engine.pid as number;
    const before = cpuTicks(pid);
    let isOver = false;
    const answer = engine.run(pixels, 8).finally(() => {
      isOver = true;
    });
    answer.catch(() => {}); // whoever gets it looks
    while (!isOver && cpuTicks(pid) - before < 3) await delay(1);
    process.kill(pid, 'SIGSTOP');
    await delay(10); // for an answer that is on its way
    if (!isOver) return { answer };
    process.kill(pid, 'SIGCONT');
  }
}

/** CPU time of all threads, in hundredths of a second. */
function cpuTicks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // begins with the third, the state
  return Number(fields[11]) + Number(fields[12]);
}

describe('the process of the native engine, in the middle of a run,', { skip }, () => {
  const spec = slowSpec();
  const pixels = randomPixels(8, spec.inputSize);

  test('is killed: another one gives the same answer', async (t) => {
    const { engine, restarts } = await start(t, spec);
    const { logits } = await engine.run(pixels, 8);
    const { answer } = await stoppedInRun(engine, pixels);
    process.kill(engine.pid as number, 'SIGKILL');
    assert.deepEqual((await answer).logits, logits);
    assert.deepEqual(restarts, ['killed by SIGKILL']);
  });

  test('is closed: the run is answered, and the process is gone', async (t) => {
    const { engine, restarts } = await start(t, spec);
    const { logits } = await engine.run(pixels, 8);
    const { answer } = await stoppedInRun(engine, pixels);
    const closed = engine.close();
    process.kill(engine.pid as number, 'SIGCONT');
    assert.deepEqual((await answer).logits, logits);
    await closed;
    assert.throws(() => process.kill(engine.pid as number, 0), /ESRCH/);
    assert.deepEqual(restarts, []);
  });

  test('loses its files: the answer stays', async (t) => {
    const own = slowSpec();
    const { engine, restarts } = await start(t, own);
    const { logits } = await engine.run(pixels, 8);
    const { answer } = await stoppedInRun(engine, pixels);
    for (const path of filesOf(own)) truncateSync(path, 0);
    process.kill(engine.pid as number, 'SIGCONT');
    assert.deepEqual((await answer).logits, logits);
    assert.deepEqual(restarts, []);
  });
});

describe('without memory for it, a network', { skip }, () => {
  test('does not start, and says why', async () => {
    const spec = { ...mediumSpec(), maxBatchSize: 65536 };
    const program = new URL('./programs/child-without-memory.js', import.meta.url);
    await assert.rejects(
      startEngine(spec, { engine: 'native', program }),
      /^EngineDiedError: there is not enough memory for the network$/,
    );
  });

  test('is refused by open(), twenty times over, and a small one still runs', () =>
    runProgram('opens-without-memory', mediumSpec()));
});

describe('the addon', { skip }, () => {
  test('lives when threads that have loaded it are ended in the middle of open() and run()', () =>
    runProgram('terminates-workers', mediumSpec()));

  test('keeps neither memory nor descriptors, mappings nor threads of networks that were closed', () =>
    runProgram('loads-and-closes', mediumSpec()));

  test('takes or refuses, with words, whatever it is given', () => runProgram('fuzzes-addon', undefined));
});

test('a closed engine refuses runs, again and again', { skip }, async () => {
  const spec = tinySpec(ownFolder());
  const engine = await openNative(spec);
  await engine.close();
  for (let attempt = 0; attempt < 3; attempt++)
    await assert.rejects(engine.run(randomPixels(1, spec.inputSize), 1), /the network is closed/);
});

/** A program that checks by itself. What it prints when something is wrong, a seed among it, is in the error. */
async function runProgram(name: string, spec: EngineSpec | undefined): Promise<void> {
  const program = fileURLToPath(new URL(`./programs/${name}.js`, import.meta.url));
  await promisify(execFile)(process.execPath, [program, JSON.stringify(spec ?? null)]);
}
