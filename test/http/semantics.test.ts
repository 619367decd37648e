import assert from 'node:assert/strict';
import test from 'node:test';
import { png, startService, until } from '../routes/service.js';
import { connectRaw } from './raw.js';

const red = await png('#e00000');
const post = (target: string, ...headers: string[]) =>
  `POST ${target} HTTP/1.1\r\nHost: a\r\n${headers.join('\r\n')}\r\n\r\n`;
const expect = 'Expect: 100-continue';
const image = ['Content-Type: image/png', `Content-Length: ${red.length}`];

test('Expect: 100-continue with a good head: the body is asked for, and the connection stays', async (t) => {
  const { url } = await startService(t);
  const client = (await connectRaw(t, url)).send(post('/classify', expect, ...image));
  await client.until(() => client.text !== '');
  assert.equal(client.text, 'HTTP/1.1 100 Continue\r\n\r\n');
  const [answer] = await client.send(red).answered();
  assert.equal(answer?.status, 200);
  assert.equal(answer?.headers.connection, 'keep-alive');
});

const refusedHeads: Readonly<Record<string, { head: string; code: string }>> = {
  'a body that is too long': {
    head: post('/classify', expect, 'Content-Type: image/png', 'Content-Length: 100000001'),
    code: 'request_too_large',
  },
  'a picture that is too long': {
    head: post('/classify', expect, 'Content-Type: image/png', 'Content-Length: 50000000'),
    code: 'image_too_many_bytes',
  },
  'a model that there is not': { head: post('/classify?model=nobody', expect, ...image), code: 'unknown_model' },
  'a bad query': { head: post('/classify?top_k=0', expect, ...image), code: 'bad_top_k' },
  'a media type that is not read': {
    head: post('/classify', expect, 'Content-Type: text/plain', 'Content-Length: 10'),
    code: 'unsupported_media_type',
  },
  'a compressed body': {
    head: post('/classify', expect, 'Content-Encoding: gzip', ...image),
    code: 'unsupported_media_type',
  },
  'no body': { head: post('/classify', expect, 'Content-Type: image/png', 'Content-Length: 0'), code: 'empty_body' },
  'another method': {
    head: `PUT /classify HTTP/1.1\r\nHost: a\r\n${expect}\r\nContent-Length: 10\r\n\r\n`,
    code: 'method_not_allowed',
  },
  'an address that there is not': { head: post('/nowhere', expect, ...image), code: 'not_found' },
};

for (const [circumstance, { head, code }] of Object.entries(refusedHeads)) {
  test(`Expect: 100-continue with ${circumstance}: refused without the body`, async (t) => {
    const { url } = await startService(t);
    const client = (await connectRaw(t, url)).send(head);
    const [answer] = await client.answered();
    assert.equal(answer?.code, code);
    assert.doesNotMatch(client.text, /100 Continue/);
    // The client may send the body or not: what comes next cannot be told from it.
    assert.equal(answer?.headers.connection, 'close');
    await client.closed;
  });
}

test('another expectation: 417, and the connection ends', async (t) => {
  const { url } = await startService(t);
  const client = (await connectRaw(t, url)).send(post('/classify', 'Expect: 200-maybe', ...image));
  const { status, code } = await client.lastAnswer();
  assert.deepEqual([status, code], [417, 'expectation_failed']);
});

test('Expect: 100-continue of HTTP/1.0 is passed over', async (t) => {
  const { url } = await startService(t);
  const head = `POST /classify HTTP/1.0\r\n${expect}\r\n${image.join('\r\n')}\r\n\r\n`;
  const client = (await connectRaw(t, url)).send(head).send(red);
  assert.equal((await client.lastAnswer()).status, 200);
  assert.doesNotMatch(client.text, /100 Continue/);
});

test('a client that ends its side after its request is answered, then the connection ends', async (t) => {
  const { url, engine, app } = await startService(t);
  engine.hold();
  let ended = false;
  app.server.once('connection', (socket) =>
    socket.once('end', () => {
      ended = true;
    }),
  );
  const client = (await connectRaw(t, url, true))
    .send(post('/classify', ...image))
    .send(red)
    .end();
  await until(() => engine.batches.length === 1 && ended);
  await client.until(() => client.text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'));
  engine.release();
  assert.equal((await client.lastAnswer()).status, 200);
});

test('a client that ends its side in the middle of a body', async (t) => {
  const { url, log } = await startService(t);
  const client = (await connectRaw(t, url, true))
    .send(post('/classify', ...image))
    .send(red.subarray(0, 10))
    .end();
  assert.equal((await client.lastAnswer()).code, 'bad_request');
  await until(() => log.length > 0);
  assert.equal(log[0]?.status, 499);
});

test('a client that is gone after its request is found out, and its request is given up', async (t) => {
  const { url, engine, log } = await startService(t);
  engine.hold();
  const client = (await connectRaw(t, url)).send(post('/classify', ...image)).send(red);
  await until(() => engine.batches.length === 1);
  client.socket.destroy(); // Nothing was received: the server sees the end of the bytes alone.
  await until(() => log.length > 0);
  assert.deepEqual([log[0]?.status, log[0]?.code], [499, 'client_closed_request']);
});

test('HEAD and OPTIONS on every route', async (t) => {
  const { url } = await startService(t, { adminToken: 'secret' });
  const routes = {
    '/': 'GET, HEAD, OPTIONS',
    '/classify': 'POST, OPTIONS',
    '/models': 'GET, HEAD, OPTIONS',
    '/models/colours': 'GET, HEAD, OPTIONS',
    '/models/colours/load': 'POST, OPTIONS',
    '/models/colours/unload': 'POST, OPTIONS',
    '/metrics': 'GET, HEAD, OPTIONS',
    '/health/live': 'GET, HEAD, OPTIONS',
    '/health/ready': 'GET, HEAD, OPTIONS',
  };
  const client = await connectRaw(t, url);
  let answered = 0;
  for (const [path, allow] of Object.entries(routes)) {
    const authorized = 'Host: a\r\nAuthorization: Bearer secret\r\n';
    const [options] = (await client.send(`OPTIONS ${path} HTTP/1.1\r\n${authorized}\r\n`).answered(answered + 1)).slice(
      answered++,
    );
    assert.deepEqual([options?.status, options?.headers.allow, options?.body], [204, allow, ''], path);
    // The answer to HEAD tells a length and has no body: the end of the connection shows that.
    const head = (await connectRaw(t, url)).send(`HEAD ${path} HTTP/1.1\r\n${authorized}Connection: close\r\n\r\n`);
    await head.closed;
    assert.match(head.text, allow.includes('HEAD') ? /^HTTP\/1\.1 200 OK\r\n/ : /^HTTP\/1\.1 405 /, path);
    assert.equal(head.text.indexOf('\r\n\r\n'), head.text.length - 4, path);
  }
});

test('OPTIONS * tells what the server can do, and * is nothing for other methods', async (t) => {
  const { url } = await startService(t);
  const client = (await connectRaw(t, url)).send(
    'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS /nowhere HTTP/1.1\r\nHost: a\r\n\r\n',
  );
  const [star, nowhere] = await client.answered(2);
  assert.deepEqual([star?.status, star?.headers.allow], [204, 'GET, HEAD, POST, OPTIONS']);
  assert.equal(nowhere?.code, 'not_found');
});

test('methods that Node knows and no route has: 405 with Allow', async (t) => {
  const { url } = await startService(t);
  for (const method of ['PROPFIND', 'PURGE', 'M-SEARCH', 'TRACE', 'DELETE', 'LINK']) {
    const [answer] = await (await connectRaw(t, url)).send(`${method} /models HTTP/1.1\r\nHost: a\r\n\r\n`).answered();
    assert.deepEqual([answer?.code, answer?.headers.allow], ['method_not_allowed', 'GET, HEAD, OPTIONS'], method);
  }
});

test('CONNECT: 405, and the connection ends', async (t) => {
  const { url } = await startService(t);
  const client = (await connectRaw(t, url)).send('CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n');
  const { code, headers } = await client.lastAnswer();
  assert.deepEqual([code, headers.connection], ['method_not_allowed', 'close']);
});

test('CONNECT behind a request that is under way: the connection ends', async (t) => {
  const { url, engine, metrics } = await startService(t);
  engine.hold();
  const client = (await connectRaw(t, url)).send(post('/classify', ...image)).send(red);
  await until(() => engine.batches.length === 1);
  client.send('CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n');
  await client.closed;
  assert.equal(client.text, '');
  await until(async () => (await metrics.inFlight.get()).values[0]?.value === 0);
});

test('Upgrade is passed over: the answer is one of HTTP/1.1', async (t) => {
  const { url } = await startService(t);
  const upgrades = [
    'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA',
    'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ];
  for (const headers of upgrades) {
    const client = (await connectRaw(t, url)).send(`GET /health/live HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n`);
    const [answer] = await client.answered();
    assert.equal(answer?.status, 200);
    assert.equal(answer?.headers.upgrade, undefined);
  }
});

test('targets in absolute form', async (t) => {
  const { url, log } = await startService(t);
  const targets: [string, number][] = [
    ['http://a/health/live', 200],
    ['HTTPS://other.example:8443/health/live?', 200],
    ['http://a', 200],
    ['http://a?x=1', 200],
    ['http://a/nowhere', 404],
    ['ftp://a/health/live', 404],
    ['http://user:secret@a/nowhere', 404],
  ];
  for (const [target, status] of targets) {
    const [answer] = await (await connectRaw(t, url)).send(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`).answered();
    assert.equal(answer?.status, status, target);
  }
  await until(() => log.length === targets.length);
  assert.doesNotMatch(JSON.stringify(log), /secret/);
});

test('paths of broken or odd percent-encoding', async (t) => {
  const { url } = await startService(t);
  const paths = ['/%', '/%zz', '/models/%', '/models/%ff', '/models/%c0%af', '/models/%00', '/models/%2e%2e%2fmetrics'];
  paths.push(
    '/models/%0d%0aSet-Cookie:x',
    '/models/..%2f..%2fetc%2fpasswd',
    '//',
    '/../metrics',
    '/./health/live',
    '/health//live',
  );
  paths.push(
    '/models/%u0041',
    '/health/live;x=1',
    '/classify?model=%ff',
    '/?%',
    '/?%00=%0a',
    `/models/${'%41'.repeat(400)}`,
  );
  for (const path of paths) {
    const [answer] = await (await connectRaw(t, url)).send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).answered();
    assert.ok(answer !== undefined && answer.status < 500, `${path}: ${answer?.status}`);
    if (answer.status !== 200) assert.equal(typeof answer.code, 'string', path);
    assert.equal(answer.headers['set-cookie'], undefined);
  }
});

test('HTTP/1.0, with and without keep-alive', async (t) => {
  const { url } = await startService(t);
  const once = (await connectRaw(t, url)).send('GET /health/live HTTP/1.0\r\n\r\n');
  assert.deepEqual((await once.lastAnswer()).headers.connection, 'close');
  const kept = (await connectRaw(t, url)).send('GET /health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
  assert.equal((await kept.answered())[0]?.headers.connection, 'keep-alive');
  kept.send('GET /health/live HTTP/1.0\r\n\r\n');
  assert.deepEqual(
    (await kept.answered(2)).map(({ status }) => status),
    [200, 200],
  );
  await kept.closed;
});
