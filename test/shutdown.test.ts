import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, createServer, get, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { after, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { start as startCommand } from './cli/command.js';
import { type ForkedServer, forkServer, refuses } from './forked-server.js';
import { writeColourModel } from './routes/colour-model.js';
import { png, until } from './routes/service.js';

const red = await png('#e00000');
const dir = await mkdtemp(join(tmpdir(), 'vgg-serve-'));
const manifest = await writeColourModel(dir, 'colours');
after(() => rm(dir, { recursive: true }));

/** Longer than any test may take: one that waits for its end has failed. */
const endless = '600000';

interface Forked {
  readonly options?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly ready?: boolean;
}

const serve = (t: TestContext, { options = [], ...others }: Forked = {}) =>
  forkServer(t, { manifest, options: ['--cache-dir', dir, ...options], ...others });

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} while a request runs: it is answered, and the process ends with 0`, async (t) => {
    const server = await serve(t);
    server.child.send('hold');
    const underWay = classify(server);
    await server.message('running');
    server.child.kill(signal);
    assert.equal((await server.logged('shutting down')).signal, signal);
    await until(async () => await refuses(server.port));
    server.child.send('release');
    const response = await underWay;
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('connection'), 'close');
    assert.equal(await server.exitCode, 0);
  });
}

test('SIGTERM with a drain delay: not ready at once, and everything else as ever, but each answer ends its connection', async (t) => {
  const server = await serve(t, { options: ['--drain-delay-ms', endless] });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const before = await ask(server, agent);
  assert.equal(before.connection, 'keep-alive');
  server.child.kill('SIGTERM');
  await server.logged('shutting down');

  const ready = await fetch(`${server.url}/health/ready`);
  assert.equal(ready.status, 503);
  const { code, detail, ready: isReady } = (await ready.json()) as Record<string, unknown>;
  assert.deepEqual(
    { code, detail, isReady },
    { code: 'shutting_down', detail: 'The server is shutting down: send new requests elsewhere.', isReady: false },
  );
  assert.equal((await fetch(`${server.url}/health/live`)).status, 200);
  assert.equal((await classify(server)).status, 200, 'on a new connection');
  const kept = await ask(server, agent);
  assert.deepEqual([kept.status, kept.connection], [200, 'close'], 'on one that was kept alive');
  assert.equal(kept.localPort, before.localPort);
  await until(() => kept.socket.destroyed);
});

test('SIGTERM with a drain delay: behind it nothing is listened for, and what runs is answered', async (t) => {
  const server = await serve(t, { options: ['--drain-delay-ms', '100'] });
  server.child.send('hold');
  const underWay = classify(server);
  await server.message('running');
  server.child.kill('SIGTERM');
  await until(async () => await refuses(server.port));
  server.child.send('release');
  assert.equal((await underWay).status, 200);
  assert.equal(await server.exitCode, 0);
});

test('SIGTERM: on connections from before, first answers as ever, then 503 shutting_down, whole and without a reset', async (t) => {
  const server = await serve(t);
  const sockets = await Promise.all(Array.from({ length: 100 }, () => open(server)));
  server.child.send('hold');
  const underWay = classify(server);
  await server.message('running');
  server.child.kill('SIGTERM');
  await until(async () => await refuses(server.port));

  // More than what is in any buffer: a connection that is closed with a part of it unread is reset.
  const body = Buffer.alloc(4_000_000);
  const head = `POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: ${body.length}\r\n\r\n`;
  const statuses: string[] = [];
  for (const socket of sockets) {
    socket.write(head);
    socket.write(body);
    const answer = await text(socket);
    statuses.push(answer.slice(9, 12));
    assert.match(answer, /\r\nconnection: close\r\n/i);
    await sleep(10); // So that the sockets last for longer than what comes late is answered.
    if (!answer.startsWith('HTTP/1.1 503 ')) continue;
    assert.match(answer, /"code":"shutting_down"/);
    break;
  }
  assert.equal(statuses.pop(), '503');
  assert.deepEqual([...new Set(statuses)], ['404']);
  server.child.send('release');
  assert.equal((await underWay).status, 200);
  assert.equal(await server.exitCode, 0);
});

test('SIGTERM while clients hold connections on which nothing is under way: the process ends with 0', async (t) => {
  const server = await serve(t);
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const [response] = (await once(get(`${server.url}/health/live`, { agent }), 'response')) as [IncomingMessage];
  await text(response);
  const silent = await open(server);
  server.child.kill('SIGTERM');
  assert.equal(await server.exitCode, 0);
  silent.destroy();
});

test('SIGTERM while a model is being loaded waits neither for the load nor for the delay; nor does a request for it', async (t) => {
  const env = { HOLD_START: '1', VGG_SERVE_ADMIN_TOKEN: 'c2VjcmV0' };
  const server = await serve(t, { env, ready: false, options: ['--drain-delay-ms', endless] });
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

test('SIGTERM while weights are being fetched does not wait for them', async (t) => {
  const mirror = createServer((_request, response) => {
    response.writeHead(200, { 'content-length': 600_000_000 }).write('the first of many bytes');
  }).listen(0, '127.0.0.1');
  t.after(() => mirror.close().closeAllConnections());
  await once(mirror, 'listening');
  const { port: mirrorPort } = mirror.address() as AddressInfo;
  const args = ['--model', 'vgg16', '--weights-url', `http://127.0.0.1:${mirrorPort}`];
  const server = startCommand(args, { PORT: '0', TORCH_HOME: join(dir, 'torch') });
  t.after(() => server.kill('SIGKILL'));
  let output = '';
  server.stdout?.setEncoding('utf8').on('data', (chunk) => {
    output += chunk;
  });
  const ended = once(server, 'exit');
  await until(() => output.includes('Server listening'));
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0];
  await until(async () => /"total_bytes":600000000/.test(await (await fetch(`${url}/health/ready`)).text()));
  server.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
});

test('Ctrl-C in a terminal, which goes to the engine too, while that has a batch to run: it is answered', {
  skip: process.platform === 'linux' ? false : 'it reads /proc',
}, async (t) => {
  const program = fileURLToPath(new URL('../src/cli.js', import.meta.url));
  const args = [program, '--model', 'fashion-vgg', '--port', '0'];
  // With a process group of its own, as a shell gives it.
  const server = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const group = -(server.pid as number);
  t.after(() => server.exitCode ?? process.kill(group, 'SIGKILL'));
  let output = '';
  server.stdout.setEncoding('utf8').on('data', (chunk) => {
    output += chunk;
  });
  const ended = once(server, 'exit');
  await until(() => output.includes('"model ready"'));
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0] ?? '';
  const engine = Number(readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8'));
  process.kill(engine, 'SIGSTOP');
  const ask = () => fetch(`${url}/classify`, { method: 'POST', headers: { 'content-type': 'image/png' }, body: red });
  const answers = [ask(), ask()];
  await until(async () =>
    /^vgg_serve_queue_depth\{model="fashion-vgg"\} 1$/m.test(await (await fetch(`${url}/metrics`)).text()),
  );
  process.kill(group, 'SIGINT');
  await until(() => output.includes('"shutting down"'));
  process.kill(engine, 'SIGCONT');
  assert.deepEqual(
    (await Promise.all(answers)).map(({ status }) => status),
    [200, 200],
  );
  assert.deepEqual(await ended, [0, null]);
});

test('a second SIGTERM during the drain delay ends the process at once with 1', async (t) => {
  const server = await serve(t, { options: ['--drain-delay-ms', endless] });
  server.child.kill('SIGTERM');
  await server.logged('shutting down');
  server.child.kill('SIGTERM');
  assert.equal(await server.exitCode, 1);
});

test('a second signal while a request runs ends the process at once with 1, and the log says what was cut off', async (t) => {
  const server = await serve(t);
  server.child.send('hold');
  const underWay = assert.rejects(classify(server, 'a-request'));
  await server.message('running');
  server.child.kill('SIGTERM');
  await server.logged('shutting down');
  server.child.kill('SIGINT');
  assert.equal(await server.exitCode, 1);
  await underWay;
  const { signal, cut_off: cutOff } = await server.logged('second signal, ending at once');
  assert.equal(signal, 'SIGINT');
  assertCutOff(cutOff);
});

test('a request that takes longer than --drain-timeout-ms is cut off and named, and the process ends with 1', async (t) => {
  const server = await serve(t, { options: ['--drain-timeout-ms', '50'] });
  server.child.send('hold');
  const underWay = assert.rejects(classify(server, 'a-request'));
  await server.message('running');
  server.child.kill('SIGTERM');
  assert.equal(await server.exitCode, 1);
  await underWay;
  const { cut_off: cutOff } = await server.logged('not done 50 ms after it was told to stop, ending');
  assertCutOff(cutOff);
});

function assertCutOff(cutOff: unknown): void {
  const { longest, ...others } = cutOff as { longest: { age_ms: number }[] };
  assert.deepEqual(others, { waiting_for: 'requests', requests: 1 });
  const [{ age_ms: age, ...request } = { age_ms: Number.NaN }] = longest;
  assert.deepEqual(request, { request_id: 'a-request', method: 'POST', path: '/classify' });
  assert.ok(age > 0);
}

for (const [word, message, origin] of [
  ['throw', 'thrown for a test', 'uncaughtException'],
  ['reject', 'rejected for a test', 'unhandledRejection'],
] as const) {
  test(`an error that nobody catches (${origin}): logged, what runs is answered without a delay, and the code is 1`, async (t) => {
    const server = await serve(t, { options: ['--drain-delay-ms', endless] });
    server.child.send('hold');
    const underWay = classify(server);
    await server.message('running');
    server.child.send(word);
    const line = await server.logged('uncaught error, shutting down');
    assert.deepEqual([line.level, line.origin, (line.err as Error).message], [60, origin, message]);
    await until(async () => await refuses(server.port));
    server.child.send('release');
    assert.equal((await underWay).status, 200);
    assert.equal(await server.exitCode, 1);
  });
}

test('an error that nobody catches, after a signal: it ends the drain delay, cuts nothing off, and the code is 1', async (t) => {
  const server = await serve(t, { options: ['--drain-delay-ms', endless] });
  server.child.send('hold');
  const underWay = classify(server);
  await server.message('running');
  server.child.kill('SIGTERM');
  await server.logged('shutting down');
  server.child.send('throw');
  await server.logged('uncaught error');
  await until(async () => await refuses(server.port));
  server.child.send('throw'); // And another one while it drains.
  await until(() => server.log().filter(({ msg }) => msg === 'uncaught error').length === 2);
  server.child.send('release');
  assert.equal((await underWay).status, 200);
  assert.equal(await server.exitCode, 1);
});

test('a process that the server has started ends with it, when it is cut short', async (t) => {
  const server = await serve(t, { options: ['--drain-delay-ms', endless] });
  let pid = Number.NaN;
  server.child.on('message', (word) => {
    pid = Number(/^spawned (\d+)$/.exec(String(word))?.[1] ?? pid);
  });
  server.child.send('spawn');
  await until(() => !Number.isNaN(pid));
  server.child.kill('SIGTERM');
  await server.logged('shutting down');
  server.child.kill('SIGTERM');
  assert.equal(await server.exitCode, 1);
  await until(() => !isRunning(pid));
});

test('an error that nobody catches where nobody reads the log: it ends with 1, and at once', async (t) => {
  const server = await serve(t);
  server.child.stdout?.destroy();
  server.child.send('throw');
  assert.equal(await server.exitCode, 1);
});

for (const [what, requests, stopReading] of [
  ['has gone', 40, (server: ReturnType<typeof startCommand>) => void server.stdout?.destroy()],
  ['reads no more', 700, (server: ReturnType<typeof startCommand>) => void server.stdout?.pause()],
] as const) {
  test(`the server whose log is read by a program that ${what}: answers, and ends with 0 on SIGTERM`, async (t) => {
    const server = startCommand(['--model', manifest, '--cache-dir', dir, '--engine', 'onnxruntime'], { PORT: '0' });
    t.after(() => server.kill('SIGKILL'));
    const ended = once(server, 'exit');
    let output = '';
    server.stdout?.setEncoding('utf8').on('data', (chunk) => {
      output += chunk;
    });
    await until(() => output.includes('"model ready"'));
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(output)?.[1]);
    stopReading(server);

    // Its lines are more than a pipe or a pair of sockets takes.
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    t.after(() => agent.destroy());
    const headers = { 'x-request-id': 'x'.repeat(128) };
    for (let at = 0; at < requests; at++) {
      const asked = get({ port, path: `/${'x'.repeat(199)}`, agent, headers });
      const [answer] = (await once(asked, 'response')) as [IncomingMessage];
      assert.equal(answer.statusCode, 404);
      await text(answer);
    }
    server.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
  });
}

function classify({ url }: ForkedServer, id = 'test'): Promise<Response> {
  const headers = { 'content-type': 'image/png', 'x-request-id': id };
  return fetch(`${url}/classify`, { method: 'POST', headers, body: red });
}

/** Classifies on a connection of the agent's. */
async function ask({ port }: ForkedServer, agent: Agent) {
  const asked = request({ port, path: '/classify', method: 'POST', agent, headers: { 'content-type': 'image/png' } });
  const [answer] = (await once(asked.end(red), 'response')) as [IncomingMessage];
  const { socket, statusCode, headers } = answer;
  const { localPort } = socket;
  await text(answer);
  return { status: statusCode, connection: headers.connection, socket, localPort };
}

async function open({ port }: ForkedServer): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket.on('error', () => {});
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
