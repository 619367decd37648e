import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { png, startService, until } from '../routes/service.js';
import { askOnce, connectRaw, type RawClient } from './raw.js';

const chunkOf = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
const red = await png('#e00000');
const get = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';
const post = (...headers: string[]) => `POST /classify HTTP/1.1\r\nHost: a\r\n${headers.join('\r\n')}\r\n\r\n`;

test('a client that sends nothing, only half a head, or a head byte by byte: 408, and the connection ends', async (t) => {
  const { url } = await startService(t, { headersTimeoutMs: 100 });
  for (const head of ['', 'G', 'GET / HTTP/1.1\r\nHost: a\r\n', `${'\r\n'.repeat(100)}GET`]) {
    const { code, headers } = await askOnce(t, url, head);
    assert.equal(code, 'request_timeout', head);
    assert.equal(headers.connection, 'close');
  }
  const slow = await connectRaw(t, url);
  const bytes = `GET / HTTP/1.1\r\nHost: a\r\n${'x: y\r\n'.repeat(1000)}`;
  let at = 0;
  const drip = setInterval(() => slow.send(bytes.charAt(at++)), 1);
  t.after(() => clearInterval(drip));
  assert.equal((await slow.lastAnswer()).code, 'request_timeout');
});

test('a body that comes too slowly: 408 with the id of its request, and the connection ends', async (t) => {
  const { url, log } = await startService(t, { headersTimeoutMs: 1000, bodyTimeoutMs: 1000 });
  const part = '--b\r\ncontent-disposition: form-data; name="a"; filename="a"\r\n\r\n';
  const bodies = [
    { type: 'image/png', begin: '' },
    { type: 'application/json', begin: '{"image": "' },
    { type: 'multipart/form-data; boundary=b', begin: part },
  ];
  const cases = bodies.flatMap(({ type, begin }) => [
    { type, framing: 'Content-Length: 10000', pieceOf: (text: string) => text, begin },
    { type, framing: 'Transfer-Encoding: chunked', pieceOf: chunkOf, begin },
  ]);
  await Promise.all(
    cases.map(async ({ type, framing, pieceOf, begin }, at) => {
      const client = await connectRaw(t, url);
      client.send(post(`Content-Type: ${type}`, framing, `X-Request-Id: slow-${at}`));
      if (begin !== '') client.send(pieceOf(begin));
      const drip = setInterval(() => client.send(pieceOf('A')), 20);
      t.after(() => clearInterval(drip));
      const { status, code, body, headers } = await client.lastAnswer();
      assert.deepEqual([status, code, headers.connection], [408, 'request_timeout', 'close'], type);
      assert.equal(JSON.parse(body).request_id, `slow-${at}`);
    }),
  );
  await until(() => log.length === cases.length);
  for (const { status, code } of log) assert.deepEqual([status, code], [408, 'request_timeout']);
});

test('a slow body behind an answer that needs none of it: the connection ends, without a second answer', async (t) => {
  const { url } = await startService(t, { headersTimeoutMs: 500, bodyTimeoutMs: 500 });
  const { status } = await askOnce(t, url, 'POST /models HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nslow');
  assert.equal(status, 405);
});

test('a slow second request on a connection: 408 behind the first answer', async (t) => {
  const { url } = await startService(t, { headersTimeoutMs: 500 });
  const client = (await connectRaw(t, url)).send(get);
  await client.answered();
  client.send('GET /');
  await client.closed;
  assert.deepEqual(
    client.answers.map(({ status }) => status),
    [200, 408],
  );
});

const halves = [post('Content-Type: image/png', 'Content-Length: 1000'), 'POST /classify HTTP/1.1\r\nHost: a\r\n'];

test('500 slow connections do not keep another client waiting', async (t) => {
  const { url, metrics } = await startService(t, { headersTimeoutMs: 60_000, bodyTimeoutMs: 60_000 });
  const slow = await Promise.all(
    Array.from({ length: 500 }, async (_, at) => (await connectRaw(t, url)).send(halves[at % 2] as string)),
  );
  await until(async () => (await metrics.connections.get()).values[0]?.value === 500);
  const answer = await fetch(`${url}/classify`, {
    method: 'POST',
    headers: { 'content-type': 'image/png' },
    body: red,
  });
  assert.equal(answer.status, 200);
  assert.ok(slow.every(({ text, socket }) => text === '' && !socket.closed));
  for (const { socket } of slow) socket.destroy(); // Else the service would wait for their bodies when it closes.
});

test('500 slow connections: each gets 408', async (t) => {
  const { url } = await startService(t, { headersTimeoutMs: 300, bodyTimeoutMs: 300 });
  const codes = await Promise.all(
    Array.from({ length: 500 }, async (_, at) => {
      const client = (await connectRaw(t, url)).send(halves[at % 2] as string);
      return (await client.lastAnswer()).code;
    }),
  );
  assert.deepEqual(new Set(codes), new Set(['request_timeout']));
});

test('bodies of more than --max-held-bytes in all: 503 until one is answered', async (t) => {
  const { url, engine, metrics } = await startService(t, { maxHeldBytes: red.length + 100 });
  const held = async () => (await metrics.bodyBytes.get()).values[0]?.value;
  const whole = [post('Content-Type: image/png', `Content-Length: ${red.length}`), red] as const;
  engine.hold();
  const first = (await connectRaw(t, url)).send(whole[0]).send(whole[1]);
  await until(() => engine.batches.length === 1);
  assert.equal(await held(), red.length);
  const second = (await connectRaw(t, url)).send(whole[0]).send(whole[1]);
  const [refused] = await second.answered();
  assert.deepEqual([refused?.status, refused?.code], [503, 'queue_full']);
  assert.match(refused?.body ?? '', /that may be held/);
  engine.release();
  assert.equal((await first.answered())[0]?.status, 200);
  await until(async () => (await held()) === 0);
  assert.equal((await second.send(whole[0]).send(whole[1]).answered(2))[1]?.status, 200);
});

test('a connection on which nothing comes after an answer ends without a word', async (t) => {
  const { url } = await startService(t, { keepAliveTimeoutMs: 50 });
  const client = (await connectRaw(t, url)).send(get);
  const { status, headers } = await client.lastAnswer();
  assert.equal(status, 200);
  assert.equal(headers.connection, 'keep-alive');
});

test('more connections than --max-connections: the further ones are closed and counted, until one ends', async (t) => {
  const { url, metrics } = await startService(t, { maxConnections: 2 });
  const [first, second] = [await connectRaw(t, url), await connectRaw(t, url)];
  for (const client of [first, second]) await client.send(get).answered();
  const third = await connectRaw(t, url);
  await third.closed;
  assert.equal(third.text, '');
  await until(async () => (await metrics.connectionsDropped.get()).values[0]?.value === 1);
  assert.equal((await metrics.connections.get()).values[0]?.value, 2);
  first.socket.destroy();
  await until(async () => (await metrics.connections.get()).values[0]?.value === 1);
  const [answer] = await (await connectRaw(t, url)).send(get).answered();
  assert.equal(answer?.status, 200);
});

test('a million chunks of one byte: refused, and the connection ends', async (t) => {
  for (const type of ['image/png', 'application/json', 'multipart/form-data; boundary=b']) {
    const { url } = await startService(t);
    const client = (await connectRaw(t, url)).send(post(`Content-Type: ${type}`, 'Transfer-Encoding: chunked'));
    // Multipart: the bytes before the first boundary are dropped, however many.
    client.send('1\r\n-\r\n'.repeat(1_000_000));
    const { code, body } = await client.lastAnswer();
    assert.equal(code, 'bad_request', body);
    assert.match(body, /10001 chunks of the body hold 10001 bytes/);
  }
});

test('an endless chunked body: 413 as soon as it is too large; the rest is dropped until the time is over', async (t) => {
  const { url } = await startService(t, { maxRequestBytes: 100_000, headersTimeoutMs: 1000, bodyTimeoutMs: 1000 });
  const client = (await connectRaw(t, url)).send(post('Content-Type: image/png', 'Transfer-Encoding: chunked'));
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
  const flood = () => {
    while (client.socket.writable && client.socket.write(chunk));
  };
  client.socket.on('drain', flood);
  flood();
  const { code } = await client.lastAnswer();
  assert.equal(code, 'request_too_large');
});

test('a client that does not read its answers: its connection is given up, and its requests end', async (t) => {
  const { url, metrics, log } = await startService(t, { headersTimeoutMs: 1000, bodyTimeoutMs: 1000 });
  const client: RawClient = await connectRaw(t, url);
  client.socket.pause();
  // Answers of far more bytes than the sockets of both sides hold.
  const flood = () => {
    while (client.socket.writable && client.socket.write('GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(10)));
  };
  client.socket.on('drain', flood);
  flood();
  await until(async () => (await metrics.connections.get()).values[0]?.value === 0);
  await until(async () => (await metrics.inFlight.get()).values[0]?.value === 0);
  assert.ok(log.some(({ status, code }) => status === 499 && code === 'client_closed_request'));
});

test('a client that resets the connection in the middle of its answer', async (t) => {
  const { url, metrics, http } = await startService(t);
  const client = await connectRaw(t, url);
  client.send('GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(50));
  await once(client.socket, 'data');
  client.socket.resetAndDestroy();
  await until(async () => (await metrics.inFlight.get()).values[0]?.value === 0);
  await until(async () => (await metrics.connections.get()).values[0]?.value === 0);
  assert.equal((await http.get('/health/live')).status, 200);
});
