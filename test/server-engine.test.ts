/** The whole server on the real engine, while things happen to that engine's process and files. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { parseConfig } from '../src/config.js';
import { isAddonBuilt } from '../src/engines/native/addon.js';
import { type EngineProcess, startEngine } from '../src/engines/process.js';
import { startServer } from '../src/server.js';
import { writeColourModel } from './routes/colour-model.js';
import { png } from './routes/service.js';

const skip = isAddonBuilt() ? false : 'the native engine is not built';
const red = await png('#e00000');

interface Served {
  readonly url: string;
  /** The model's file of weights. */
  readonly weights: string;
  engine(): EngineProcess;
}

async function serve(t: TestContext): Promise<Served> {
  const dir = mkdtempSync(join(tmpdir(), 'vgg-serve-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const manifest = await writeColourModel(dir, 'colours');
  const engines: EngineProcess[] = [];
  const config = parseConfig(
    ['--port', '0', '--log-level', 'silent', '--model', manifest, '--cache-dir', dir, '--engine', 'native'],
    {},
    'serve',
  );
  const server = await startServer(config, async (spec, options) => {
    const engine = await startEngine(spec, { ...options, engine: 'native' });
    engines.push(engine);
    return engine;
  });
  t.after(() => server.close());
  await server.loaded;
  return { url: server.url, weights: join(dir, 'colours.safetensors'), engine: () => engines.at(-1) as EngineProcess };
}

const classify = (url: string) =>
  fetch(`${url}/classify`, { method: 'POST', headers: { 'content-type': 'image/png' }, body: red });
const predictionsOf = (answer: unknown) => (answer as { results: { predictions: unknown }[] }).results[0]?.predictions;
const isAlive = async (url: string) => (await fetch(`${url}/health/live`)).status === 200;
const restartsOf = async (url: string) =>
  /^vgg_serve_engine_restarts_total\{model="colours"\} (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1];

test('the server whose engine is killed five times answers in between, and counts', { skip }, async (t) => {
  const { url, engine } = await serve(t);
  for (let round = 1; round <= 5; round++) {
    process.kill(engine().pid as number, 'SIGKILL');
    assert.equal((await classify(url)).status, 200);
    assert.equal(await isAlive(url), true);
    assert.equal(await restartsOf(url), String(round));
  }
});

test('the server whose file of weights is emptied answers as before: its engine has copied it', { skip }, async (t) => {
  const { url, weights } = await serve(t);
  const before = await (await classify(url)).json();
  assert.ok(Array.isArray(predictionsOf(before)));
  truncateSync(weights, 0);
  const after = await classify(url);
  assert.equal(after.status, 200);
  assert.deepEqual(predictionsOf(await after.json()), predictionsOf(before));
  assert.equal(await restartsOf(url), '0');
});
