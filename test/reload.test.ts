import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { Agent, type RequestOptions, request } from 'node:https';
import { connect } from 'node:net';
import test, { type TestContext } from 'node:test';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { makeKey } from '../src/access/key-file.js';
import { onSighup } from '../src/reload.js';
import { days, selfSigned, writePair } from './access/certificate.js';
import { keyFile } from './access/keys.js';
import { temporaryDir } from './cli/command.js';
import { writeColourModel } from './routes/colour-model.js';
import { until } from './routes/service.js';

test('onSighup: one round after the other; signals that come meanwhile make one more', async () => {
  let rounds = 0;
  let finish = () => {};
  const off = onSighup([
    () => {
      rounds++;
      return new Promise((resolve) => {
        finish = resolve;
      });
    },
  ]);
  try {
    for (let signals = 0; signals < 3; signals++) process.emit('SIGHUP');
    assert.equal(rounds, 1);
    finish();
    await until(() => rounds === 2);
    finish();
    await new Promise(setImmediate);
    assert.equal(rounds, 2);
    process.emit('SIGHUP');
    await until(() => rounds === 3);
    finish();
  } finally {
    off();
  }
  assert.equal(process.listenerCount('SIGHUP'), 0);
});

test('SIGHUP with a file of keys: new keys count and old ones do not; a broken file leaves all as it was', async (t) => {
  const { apiKeyFile, key } = await keyFile(t);
  const server = await serve(t, ['--api-key-file', apiKeyFile]);
  const statusOf = async (given: string) =>
    (await fetch(`${server.url}/models`, { headers: { 'x-api-key': given } })).status;
  const eve = makeKey('eve', false);
  assert.deepEqual([await statusOf(key), await statusOf(eve.key)], [200, 401]);

  await writeFile(apiKeyFile, `${eve.line}\n`);
  assert.deepEqual(await server.reload('keys read again'), [{ level: 30, keys: 1, msg: 'keys read again' }]);
  assert.deepEqual([await statusOf(key), await statusOf(eve.key)], [401, 200]);

  const broken = 'keys not read, those of before stay';
  await writeFile(apiKeyFile, 'eve:open sesame\n');
  const [line] = await server.reload(broken);
  assert.deepEqual([line?.level, line?.keys], [50, 1]);
  assert.match(String(line?.reason), /keys, line 1: /);
  await rm(apiKeyFile);
  assert.match(String((await server.reload(broken))[1]?.reason), /ENOENT/);
  assert.deepEqual([await statusOf(key), await statusOf(eve.key)], [401, 200]);
  assert.doesNotMatch(server.output(), /sesame/);

  server.child.kill('SIGTERM');
  assert.equal(await server.exitCode, 0);
});

test('SIGHUP without anything to read again ends the server, as when its terminal is closed', async (t) => {
  const server = await serve(t);
  server.child.kill('SIGHUP');
  assert.equal(await server.exitCode, 0);
});

test('HTTPS: the answer, the versions of TLS, and a client that speaks no TLS', async (t) => {
  const pair = selfSigned();
  const { tlsCert, tlsKey } = await writePair(await temporaryDir(t), pair);
  const { url, child, exitCode } = await serve(t, ['--tls-cert', tlsCert, '--tls-key', tlsKey]);
  assert.match(url, /^https:\/\/127\.0\.0\.1:\d+$/);
  const { status, protocol, alpn, fingerprint } = await ask(url, pair.cert);
  assert.deepEqual([status, protocol, alpn], [200, 'TLSv1.3', 'http/1.1']);
  assert.equal(fingerprint, pair.fingerprint);
  assert.equal((await ask(url, pair.cert, { maxVersion: 'TLSv1.2' })).protocol, 'TLSv1.2');
  // SECLEVEL=0 lets this side offer what the server is to refuse.
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  await assert.rejects(ask(url, pair.cert, old), /alert protocol version/);
  await assert.rejects(ask(url, selfSigned().cert), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });

  // Which bytes a server sends to a client that speaks no TLS is its own matter; that it lets go of it is not.
  const plain = connect(Number(new URL(url).port), '127.0.0.1');
  plain.resume().on('error', () => {});
  plain.write('GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n');
  await once(plain, 'close');
  assert.equal((await ask(url, pair.cert)).status, 200);

  // A client that is still in its handshake does not hold up the end.
  const silent = connect(Number(new URL(url).port), '127.0.0.1');
  silent.on('error', () => {});
  await once(silent, 'connect');
  child.kill('SIGTERM');
  assert.equal(await exitCode, 0);
});

test('SIGHUP with a certificate: new connections get the new one, old ones live on; a broken pair leaves the old one', async (t) => {
  const first = selfSigned();
  const second = selfSigned({ notAfter: days(5) });
  const dir = await temporaryDir(t);
  const { tlsCert, tlsKey } = await writePair(dir, first);
  const server = await serve(t, ['--tls-cert', tlsCert, '--tls-key', tlsKey]);
  const keepAlive = new Agent({ keepAlive: true, maxSockets: 1, ca: first.cert });
  t.after(() => keepAlive.destroy());
  const before = await ask(server.url, first.cert, { agent: keepAlive });
  assert.equal(before.fingerprint, first.fingerprint);

  await writePair(dir, second);
  await chmod(tlsKey, 0o604);
  const used = await server.reload('certificate in use', 2);
  assert.deepEqual(
    used.map(({ fingerprint }) => fingerprint),
    [first.fingerprint, second.fingerprint],
  );
  assert.equal((await ask(server.url, second.cert)).fingerprint, second.fingerprint);
  await assert.rejects(ask(server.url, first.cert));
  const after = await ask(server.url, first.cert, { agent: keepAlive });
  assert.deepEqual([after.fingerprint, after.localPort], [first.fingerprint, before.localPort]);
  assert.match(server.output(), /"The certificate .* ends on .*".*\n.*"Every user of this machine can read the key /);

  await writeFile(tlsKey, first.key);
  const [line] = await server.reload('certificate not read, the one of before stays');
  assert.equal(line?.level, 50);
  assert.match(String(line?.reason), /it is not the key of that certificate$/);
  const { status, fingerprint, protocol } = await ask(server.url, second.cert);
  assert.deepEqual([status, fingerprint, protocol], [200, second.fingerprint, 'TLSv1.3']);
  // The floor stands after the change too.
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  await assert.rejects(ask(server.url, second.cert, old), /alert protocol version/);
});

interface Served {
  readonly child: ChildProcess;
  readonly url: string;
  readonly exitCode: Promise<number | null>;
  output(): string;
  /** Sends SIGHUP, and waits until the log has one more line of this message; all of them, or at least so many. */
  reload(msg: string, atLeast?: number): Promise<Record<string, unknown>[]>;
}

/** The server in a process of its own. */
async function serve(t: TestContext, options: readonly string[] = []): Promise<Served> {
  const dir = await temporaryDir(t);
  const manifest = await writeColourModel(dir, 'colours');
  const child = fork(new URL('./held-server.js', import.meta.url), [manifest, '--cache-dir', dir, ...options], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: {},
  });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const exitCode = once(child, 'exit').then(([code]) => code as number | null);
  const [url] = await once(child, 'message');
  const linesOf = (msg: string) =>
    output
      .slice(0, output.lastIndexOf('\n') + 1)
      .trim()
      .split('\n')
      .filter((line) => line.includes(`"msg":"${msg}"`))
      .map((line) => {
        const { time: _time, ...rest } = JSON.parse(line) as Record<string, unknown>;
        return rest;
      });
  return {
    child,
    url: String(url),
    exitCode,
    output: () => output,
    async reload(msg, atLeast) {
      const enough = atLeast ?? linesOf(msg).length + 1;
      child.kill('SIGHUP');
      await until(() => linesOf(msg).length >= enough);
      return linesOf(msg);
    },
  };
}

/** GET /health/live on a new connection, unless the agent has one. */
async function ask(url: string, ca: string, options: RequestOptions = {}) {
  const tls: RequestOptions & Pick<ConnectionOptions, 'ALPNProtocols'> = {
    ca,
    ALPNProtocols: ['h2', 'http/1.1'],
    ...options,
  };
  const client = request(`${url}/health/live`, { agent: false, ...tls });
  client.end();
  const [answer] = await once(client, 'response');
  const socket = answer.socket as TLSSocket;
  const seen = {
    status: answer.statusCode as number,
    fingerprint: socket.getPeerCertificate().fingerprint256,
    protocol: socket.getProtocol(),
    alpn: socket.alpnProtocol,
    localPort: socket.localPort,
  };
  answer.resume();
  await once(answer, 'end');
  return seen;
}
