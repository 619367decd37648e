import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, type TestContext } from 'node:test';
import { type Config, parseConfig } from '../src/config.js';
import { startEngine } from '../src/engines/process.js';
import { type RunningServer, type StartEngine, startServer } from '../src/server.js';
import { ColourEngine, writeColourModel } from './routes/colour-model.js';
import { png, until } from './routes/service.js';

const red = await png('#e00000');
const dir = await mkdtemp(join(tmpdir(), 'vgg-serve-'));
const manifest = await writeColourModel(dir, 'colours');
after(() => rm(dir, { recursive: true }));

test('startServer() listens before its model is loaded', async (t) => {
  const engine = new ColourEngine();
  engine.holdStart();
  const { url } = await start(t, {}, (_spec, { signal }) => engine.start(signal));
  await engine.starting;
  assert.equal((await fetch(`${url}/health/live`)).status, 200);
  const early = await fetch(`${url}/health/ready`);
  assert.equal(early.status, 503);
  const problem = (await early.json()) as { models: unknown };
  const noBytes = { received_bytes: null, total_bytes: null };
  assert.deepEqual(problem.models, [
    { name: 'colours', state: 'loading', reason: null, progress: { step: 'starting', ...noBytes } },
  ]);
  assert.equal((await classify(url)).status, 503);
  engine.release();
  await until(async () => (await fetch(`${url}/health/ready`)).ok);
  assert.equal((await classify(url)).status, 200);
});

test('startServer() with a model that cannot be loaded stays up, and not ready', async (t) => {
  const { url } = await start(t, {}, async () => {
    throw new Error('no memory left');
  });
  await until(async () => (await (await fetch(`${url}/health/ready`)).text()).includes('no memory left'));
  assert.equal((await fetch(`${url}/health/live`)).status, 200);
});

test('startServer() with several models: each is ready on its own, the first is the default, one that fails leaves the others', async (t) => {
  const manifests = [manifest, await writeColourModel(dir, 'broken'), await writeColourModel(dir, 'late')];
  const late = new ColourEngine();
  late.holdStart();
  const starts: StartEngine[] = [
    async () => new ColourEngine(),
    async () => {
      throw new Error('no memory left');
    },
    (_spec, { signal }) => late.start(signal),
  ];
  let started = 0;
  const startEngine: StartEngine = (...args) => (starts[started++] as StartEngine)(...args);
  const { url, loaded } = await start(t, { model: manifests }, startEngine);
  await late.starting;

  const ready = await fetch(`${url}/health/ready`);
  assert.equal(ready.status, 503);
  const { detail } = (await ready.json()) as { detail: string };
  assert.equal(detail, 'broken is failed: no memory left; late is loading: starting');
  for (const [query, status, seen] of [
    ['', 200, 'colours'],
    ['?model=colours', 200, 'colours'],
    ['?model=broken', 503, 'broken could not be loaded: no memory left'],
    ['?model=late', 503, 'late is still loading. Try again soon.'],
    ['?model=nobody', 404, "There is no model 'nobody'. The models are: colours, broken, late."],
  ] as const) {
    const answer = await classify(url, query);
    const body = (await answer.json()) as { model?: string; detail?: string };
    assert.deepEqual([answer.status, body.model ?? body.detail], [status, seen]);
  }

  late.release();
  const summaries = await loaded;
  assert.deepEqual(
    summaries.map(({ state, reason }) => [state, reason]),
    [
      ['ready', null],
      ['failed', 'no memory left'],
      ['ready', null],
    ],
  );
  assert.equal((await classify(url, '?model=late')).status, 200);
});

test('startServer() with two models of one name', async (t) => {
  await assert.rejects(start(t, { model: [manifest, manifest] }), {
    name: 'DuplicateModelError',
    message: /^two models are called colours: /,
  });
});

test('startServer() with a file of the admin token', async (t) => {
  const adminTokenFile = join(dir, 'token');
  await writeFile(adminTokenFile, 'c2VjcmV0\n');
  const { url, loaded } = await start(t, { adminTokenFile });
  await loaded;
  const unload = (token: string) =>
    fetch(`${url}/models/colours/unload`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
  assert.equal((await unload('c2VjcmV1')).status, 401);
  assert.equal((await unload('c2VjcmV0')).status, 200);
});

test('a model that is unloaded and loaded ten times: each time its process is gone, and the last one answers', async (t) => {
  const pids: number[] = [];
  const startReal: StartEngine = async (spec, options) => {
    const engine = await startEngine(spec, options);
    pids.push(engine.pid as number);
    return engine;
  };
  const { url, loaded } = await start(t, { model: ['fashion-vgg'], adminToken: 'c2VjcmV0' }, startReal);
  await loaded;
  const post = async (verb: string) => {
    const headers = { authorization: 'Bearer c2VjcmV0' };
    const answer = await fetch(`${url}/models/fashion-vgg/${verb}`, { method: 'POST', headers });
    return ((await answer.json()) as { state: string }).state;
  };
  for (let round = 1; round <= 10; round++) {
    assert.equal(await post('unload'), 'unloaded');
    assert.equal(isRunning(pids.at(-1)), false);
    assert.equal(await post('load'), 'ready');
  }
  assert.equal(new Set(pids).size, 11);
  assert.equal(isRunning(pids.at(-1)), true);
  assert.equal((await classify(url)).status, 200);
});

test('startServer() counts the restarts of an engine', async (t) => {
  const { url, loaded } = await start(t, {}, async (_spec, { onRestart }) => {
    onRestart?.('killed by SIGKILL', 'killed');
    return new ColourEngine();
  });
  await loaded;
  assert.match(
    await (await fetch(`${url}/metrics`)).text(),
    /^vgg_serve_engine_restarts_total\{model="colours",reason="killed"\} 1$/m,
  );
});

test('startServer() on a port that is taken', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const { port } = other.address() as { port: number };
  await assert.rejects(start(t, { port }), {
    name: 'ListenError',
    message: `cannot listen on 127.0.0.1:${port}: another program listens there. Stop it, or choose another port with --port.`,
  });
});

test('startServer() on an address that this machine has not', async (t) => {
  await assert.rejects(start(t, { host: '192.0.2.1' }), { name: 'ListenError', message: /192\.0\.2\.1:0: .+/ });
});

test('startServer() with a model that there is not', async (t) => {
  await assert.rejects(start(t, { model: ['nobody'] }), { name: 'UnknownModelError' });
});

async function start(
  t: TestContext,
  overrides: Partial<Config>,
  startEngine: StartEngine = async () => new ColourEngine(),
): Promise<RunningServer> {
  const options = ['--port', '0', '--log-level', 'silent', '--model', manifest, '--cache-dir', dir];
  const server = await startServer({ ...parseConfig(options, {}, 'serve'), ...overrides }, startEngine);
  t.after(() => server.close());
  return server;
}

function classify(url: string, query = ''): Promise<Response> {
  return fetch(`${url}/classify${query}`, { method: 'POST', headers: { 'content-type': 'image/png' }, body: red });
}

function isRunning(pid: number | undefined): boolean {
  try {
    return process.kill(pid ?? Number.NaN, 0);
  } catch {
    return false;
  }
}
