import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, type TestContext } from 'node:test';
import { type Config, parseConfig } from '../src/config.js';
import type { Engine } from '../src/engines/engine.js';
import { type RunningServer, type StartEngine, startServer } from '../src/server.js';
import { ColourEngine, writeColourModel } from './routes/colour-model.js';
import { png, until } from './routes/service.js';

const red = await png('#e00000');
const dir = await mkdtemp(join(tmpdir(), 'vgg-serve-'));
const manifest = await writeColourModel(dir, 'colours');
after(() => rm(dir, { recursive: true }));

test('startServer() listens before its model is loaded', async (t) => {
  const engine = new ColourEngine();
  let load = (_engine: Engine) => {};
  const loaded = new Promise<Engine>((resolve) => {
    load = resolve;
  });
  const { url } = await start(t, {}, () => loaded);
  assert.equal((await fetch(`${url}/health/live`)).status, 200);
  const early = await fetch(`${url}/health/ready`);
  assert.equal(early.status, 503);
  const problem = (await early.json()) as { models: unknown };
  assert.deepEqual(problem.models, [{ name: 'colours', state: 'loading', reason: null }]);
  assert.equal((await classify(url)).status, 503);
  load(engine);
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

test('startServer() counts the restarts of an engine', async (t) => {
  const { url, loaded } = await start(t, {}, async (_spec, { onRestart }) => {
    onRestart?.('killed');
    return new ColourEngine();
  });
  await loaded;
  assert.match(await (await fetch(`${url}/metrics`)).text(), /^vgg_serve_engine_restarts_total 1$/m);
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
  const server = await forkServer(t, '--grace-ms', '50');
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

/** The server in a process of its own, ready. */
async function forkServer(t: TestContext, ...options: string[]): Promise<ForkedServer> {
  const program = new URL('./held-server.js', import.meta.url);
  const child = fork(program, [manifest, '--cache-dir', dir, ...options], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
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
  await until(async () => (await fetch(`${url}/health/ready`)).ok);
  return {
    child,
    url,
    exitCode,
    output: () => output,
    message: (word) => until(() => messages.includes(word)),
  };
}

function classify(url: string): Promise<Response> {
  return fetch(`${url}/classify`, { method: 'POST', headers: { 'content-type': 'image/png' }, body: red });
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
