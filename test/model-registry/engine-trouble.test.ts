/** A model while its engine's process dies, hangs and answers nonsense: a real process, whose program does so on purpose. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { LossKind } from '../../src/engines/child-handle.js';
import { type EngineProcess, type EngineProcessOptions, startEngine } from '../../src/engines/process.js';
import { readManifest } from '../../src/model-registry/manifest.js';
import type { Model } from '../../src/model-registry/model.js';
import { ModelRegistry } from '../../src/model-registry/registry.js';
import { smallManifest, temporaryFolder, writeManifest, writeWeights } from './small-model.js';

const program = new URL('../engines/programs/by-first-byte.js', import.meta.url);

/** First bytes of pictures, by what the program does with them. */
const killers = { hung: 251, killed: 252, exited: 253, garbage: 254, 'of another run': 255 } as const;

/** @param states that the model goes through are told to whoever waits for them */
async function served(t: TestContext, given: EngineProcessOptions = {}, engineRetryMs = 0) {
  const folder = temporaryFolder(t);
  writeWeights(folder);
  const gate = join(folder, 'gate');
  writeFileSync(gate, 'ready');
  const losses: LossKind[] = [];
  const states: string[] = [];
  const engines: EngineProcess[] = [];
  let onState = () => {};
  const registry = new ModelRegistry({
    async startEngine(spec, { signal }) {
      const engine = await startEngine(spec, {
        ...{ engine: 'onnxruntime', program, signal, env: { READY_FILE: gate } },
        onRestart: (_, kind) => losses.push(kind),
        ...given,
      });
      engines.push(engine);
      return engine;
    },
    limits: { maxBatchSize: 16, maxWaitMs: 0, maxQueue: 64 },
    threads: 1,
    cacheDir: join(folder, 'cache'),
    engineRetryMs,
    observer: {
      stateChanged(_, state, error) {
        states.push(error instanceof Error ? `${state}: ${error.message}` : state);
        onState();
      },
      ...{ loadProgress() {}, loaded() {}, queueDepth() {}, queueWait() {}, batch() {}, left() {} },
    },
  });
  registry.add(await readManifest(writeManifest(folder, smallManifest)));
  const alive = setInterval(() => {}, 1000); // As a server's socket does: a retry that waits does not.
  t.after(() => {
    clearInterval(alive);
    return registry.close();
  });
  const model = await registry.load('tiny');
  return {
    registry,
    model,
    losses,
    states,
    path: join(folder, smallManifest.weights.file),
    /** Whether a process that is started comes up. */
    mayStart: (may: boolean) => writeFileSync(gate, may ? 'ready' : 'not'),
    kill: () => process.kill(engines.at(-1)?.pid as number, 'SIGKILL'),
    untilState: async (wanted: string) => {
      while (!states.at(-1)?.startsWith(wanted)) await new Promise<void>((resolve) => (onState = resolve));
    },
  };
}

const picture = (first: number) => new Uint8Array(4 * 4 * 3).fill(first);
const classify = async (model: Model, first: number) => (await model.classify(picture(first))).logits[0];
const untilDown = async (model: Model, wanted: RegExp) => {
  const reason = () => (model.condition.state === 'up' ? '' : model.condition.reason);
  while (!wanted.test(reason())) await new Promise((resolve) => setImmediate(resolve));
};

for (const [what, first] of Object.entries(killers)) {
  test(`a picture among 16 with which the engine is ${what}: 15 are answered, and it loses three engines`, async (t) => {
    // Long enough for a run on a machine that is at its limit; only the picture that hangs waits for it.
    const { registry, model, losses } = await served(t, { runTimeoutMs: what === 'hung' ? 1000 : 60_000 });
    const firsts = Array.from({ length: 16 }, (_, at) => (at === 5 ? first : at + 1));
    const seen = await Promise.allSettled(firsts.map((byte) => classify(model, byte)));
    assert.deepEqual(
      seen.map((answer) => (answer.status === 'fulfilled' ? answer.value : answer.reason.code)),
      firsts.map((byte) => (byte === first ? 'engine_failed' : byte)),
    );
    assert.deepEqual(new Set(losses), new Set([what === 'of another run' ? 'garbage' : what]));
    assert.equal(losses.length, 3);
    assert.equal(await classify(model, 9), 9);
    assert.equal(registry.ready, true);
  });
}

test('while no engine lives the model is not ready and says why, pictures wait, and those that are late leave', async (t) => {
  const { registry, model, mayStart, kill } = await served(t, { maxFailures: 1_000_000 });
  mayStart(false);
  kill();
  await untilDown(model, /^exited with code 4$/);
  assert.equal(registry.ready, false);
  const { state, reason } = registry.summary('tiny');
  assert.equal(state, 'ready');
  assert.match(reason ?? '', /^no engine: exited with code 4; starting again, attempt \d+$/);
  const waiting = classify(model, 3);
  const late = model.classify(picture(4), { deadlineAt: performance.now() + 20 });
  await assert.rejects(late, { code: 'deadline_exceeded' });
  mayStart(true);
  assert.equal(await waiting, 3);
  assert.equal(registry.ready, true);
  assert.equal(registry.summary('tiny').reason, null);
});

test('after as many losses in a row as allowed the model has failed, what waits is told so, and a load brings it back', async (t) => {
  const { registry, model, mayStart, kill, states, untilState } = await served(t, { maxFailures: 3 });
  mayStart(false);
  kill();
  await untilDown(model, /^killed by SIGKILL$/);
  const waiting = assert.rejects(classify(model, 3), { code: 'model_not_ready', message: /exited with code 4$/ });
  await untilState('failed');
  await waiting;
  const reason = 'its engine has given up: it was lost 3 times in a row, the last time: exited with code 4';
  assert.deepEqual(states.slice(-2), ['ready', `failed: ${reason}`]);
  assert.deepEqual(
    [registry.ready, registry.summary('tiny').state, registry.summary('tiny').reason],
    [false, 'failed', reason],
  );
  assert.throws(() => registry.get('tiny'), { code: 'model_not_ready', message: `tiny has failed: ${reason}` });
  await assert.rejects(registry.load('tiny'));
  mayStart(true);
  const again = await registry.load('tiny');
  assert.equal(await classify(again, 3), 3);
  assert.equal(registry.ready, true);
});

test('a model that has failed is loaded again after engineRetryMs, as often as it must be', async (t) => {
  const { registry, mayStart, kill, states, untilState } = await served(t, { maxFailures: 1 }, 10);
  mayStart(false);
  kill();
  await untilState('failed: its engine has given up');
  await untilState('failed: The onnxruntime engine cannot be loaded');
  await untilState('loading');
  mayStart(true);
  await untilState('ready');
  assert.match(
    states.find((state) => state.startsWith('failed')) ?? '',
    /^failed: .* killed by SIGKILL; it is loaded again 0.01 s after that$/,
  );
  assert.equal(await classify(registry.get('tiny'), 3), 3);
});

test('a model that has failed and was unloaded is not loaded again', async (t) => {
  const { registry, kill, states, untilState } = await served(t, { maxFailures: 1 }, 1);
  kill();
  await untilState('failed');
  await registry.unload('tiny');
  const seen = states.length;
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(states.slice(seen - 1), ['unloaded']);
});

test('a file that was replaced while it was served is not served by the next process, and not before it is loaded', async (t) => {
  const { registry, model, path, kill, states, untilState } = await served(t, {}, 1);
  assert.equal(await classify(model, 3), 3);
  writeFileSync(path, readFileSync(path));
  kill();
  await untilState('failed');
  const { reason } = registry.summary('tiny');
  assert.equal(
    reason,
    'its engine has given up: tiny.safetensors was written to since it was loaded (528 bytes; it had 528): load the model again.'.replaceAll(
      '528',
      String(readFileSync(path).length),
    ),
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(states.at(-1), `failed: ${reason?.replace('tiny.safetensors', path)}`);
  assert.equal(await classify(await registry.load('tiny'), 3), 3);
});

test('one killer after the other: a run that is answered between them keeps the model from failing', async (t) => {
  const { registry, model } = await served(t, { maxFailures: 4 });
  for (let round = 0; round < 3; round++) {
    await assert.rejects(classify(model, killers.killed), { code: 'engine_failed' });
    assert.equal(await classify(model, 3), 3);
  }
  assert.equal(registry.ready, true);
});

test('unload while no engine lives does not wait for one once nobody waits', async (t) => {
  const { registry, model, mayStart, kill } = await served(t, { maxFailures: 1_000_000 });
  mayStart(false);
  kill();
  await untilDown(model, /^exited with code 4$/);
  const late = assert.rejects(model.classify(picture(4), { deadlineAt: performance.now() + 20 }), {
    code: 'deadline_exceeded',
  });
  await registry.unload('tiny');
  await late;
  assert.equal(registry.summary('tiny').state, 'unloaded');
});
