import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { connect, createServer } from 'node:net';
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

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} while a request runs: it is answered, and the process ends with 0`, async (t) => {
    const server = await forkServer(t);
    server.child.send('hold');
    const underWay = classify(server.url);
    await server.message('running');
    server.child.kill(signal);
    await until(() => server.output().includes('shutting down'));
    await until(async () => await refuses(server.url));
    server.child.send('release');
    const response = await underWay;
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('connection'), 'close');
    assert.equal(await server.exitCode, 0);
    for (const line of server.output().trim().split('\n')) assert.equal(typeof JSON.parse(line).msg, 'string');
  });
}

test('SIGTERM while a model is being loaded does not wait for the load, and neither does a request for it', async (t) => {
  const env = { HOLD_START: '1', VGG_SERVE_ADMIN_TOKEN: 'c2VjcmV0' };
  const server = await forkServer(t, { env, ready: false });
  await until(async () => (await (await fetch(`${server.url}/health/ready`)).text()).includes('"starting"'));
  const headers = { authorization: 'Bearer c2VjcmV0' };
  const load = (query: string) => fetch(`${server.url}/models/colours/load${query}`, { method: 'POST', headers });
  const waiting = load('');
  assert.equal((await load('?wait=false')).status, 202); // By now the request above has arrived too.
  server.child.kill('SIGTERM');
  const answer = await waiting;
  assert.equal(answer.status, 503);
  assert.equal(((await answer.json()) as { code: string }).code, 'shutting_down');
  assert.equal(await server.exitCode, 0);
});

test('SIGTERM while clients hold connections on which nothing is under way: the process ends with 0', async (t) => {
  const server = await forkServer(t);
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const [response] = await once(get(`${server.url}/health/live`, { agent }), 'response');
  response.resume();
  await once(response, 'end');
  const silent = connect(Number(new URL(server.url).port), '127.0.0.1');
  silent.on('error', () => {});
  await once(silent, 'connect');
  server.child.kill('SIGTERM');
  assert.equal(await server.exitCode, 0);
});

test('a second SIGTERM ends the process at once with 1', async (t) => {
  const server = await forkServer(t);
  server.child.send('hold');
  const underWay = assert.rejects(classify(server.url));
  await server.message('running');
  server.child.kill('SIGTERM');
  await until(() => server.output().includes('shutting down'));
  server.child.kill('SIGTERM');
  assert.equal(await server.exitCode, 1);
  await underWay;
});

test('a request that takes longer than --grace-ms after SIGTERM is given up, and the process ends with 1', async (t) => {
  const server = await forkServer(t, { options: ['--grace-ms', '50'] });
  server.child.send('hold');
  const underWay = assert.rejects(classify(server.url));
  await server.message('running');
  server.child.kill('SIGTERM');
  assert.equal(await server.exitCode, 1);
  await underWay;
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

interface ForkedServer {
  readonly child: ChildProcess;
  readonly url: string;
  readonly exitCode: Promise<number | null>;
  /** What it has logged. */
  output(): string;
  message(word: string): Promise<void>;
}

interface ForkOptions {
  readonly options?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Whether to wait until it is. */
  readonly ready?: boolean;
}

/** The server in a process of its own. */
async function forkServer(
  t: TestContext,
  { options = [], env = {}, ready = true }: ForkOptions = {},
): Promise<ForkedServer> {
  const program = new URL('./held-server.js', import.meta.url);
  const child = fork(program, [manifest, '--cache-dir', dir, ...options], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env,
  });
  t.after(() => child.kill('SIGKILL'));
  const messages: unknown[] = [];
  child.on('message', (word) => messages.push(word));
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const exitCode = once(child, 'exit').then(([code]) => code as number | null);
  await until(() => messages.length > 0);
  const url = String(messages[0]);
  if (ready) await until(async () => (await fetch(`${url}/health/ready`)).ok);
  return {
    child,
    url,
    exitCode,
    output: () => output,
    message: (word) => until(() => messages.includes(word)),
  };
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

/** Whether a new connection is refused. */
async function refuses(url: string): Promise<boolean> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  const refused = await new Promise<boolean>((resolve) => {
    socket.on('connect', () => resolve(false)).on('error', () => resolve(true));
  });
  socket.destroy();
  return refused;
}
