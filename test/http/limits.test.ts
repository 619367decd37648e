import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { png, startService, until } from '../routes/service.js';
import { askOnce, connectRaw, type RawClient } from './raw.js';

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

for (const [type, begin] of [
  ['image/png', ''],
  ['application/json', '{"image": "'],
  ['multipart/form-data; boundary=b', '--b\r\ncontent-disposition: form-data; name="a"; filename="a"\r\n\r\n'],
] as const) {
  for (const framing of ['Content-Length: 10000', 'Transfer-Encoding: chunked']) {
    test(`a body of ${type} (${framing}) that comes too slowly: 408 with its id, and the connection ends`, async (t) => {
      const { url, log } = await startService(t, { headersTimeoutMs: 100, bodyTimeoutMs: 100 });
      const client = (await connectRaw(t, url)).send(post(`Content-Type: ${type}`, framing, 'X-Request-Id: slow'));
      const chunked = framing.endsWith('chunked');
      const piece = (text: string) => (chunked ? `${text.length.toString(16)}\r\n${text}\r\n` : text);
      if (begin !== '') client.send(piece(begin));
      const drip = setInterval(() => client.send(piece('A')), 5);
      t.after(() => clearInterval(drip));
      const { status, code, body, headers } = await client.lastAnswer();
      assert.deepEqual([status, code, headers.connection], [408, 'request_timeout', 'close']);
      assert.equal(JSON.parse(body).request_id, 'slow');
      await until(() => log.length > 0);
      assert.deepEqual([log[0]?.status, log[0]?.code], [408, 'request_timeout']);
    });
  }
}

test('a slow body behind an answer that needs none of it: the connection ends, without a second answer', async (t) => {
  const { url } = await startService(t, { headersTimeoutMs: 100, bodyTimeoutMs: 100 });
  const { status } = await askOnce(t, url, 'POST /models HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nslow');
  assert.equal(status, 405);
});

test('a slow second request on a connection: 408 behind the first answer', async (t) => {
  const { url } = await startService(t, { headersTimeoutMs: 100 });
  const client = (await connectRaw(t, url)).send(get);
  await client.answered();
  client.send('GET /');
  await client.closed;
  assert.deepEqual(
    client.answers.map(({ status }) => status),
    [200, 408],
  );
});

test('500 slow connections: another client is answered meanwhile, and all 500 get 408', async (t) => {
  const { url, metrics } = await startService(t, { headersTimeoutMs: 3000, bodyTimeoutMs: 3000 });
  const half = [post('Content-Type: image/png', 'Content-Length: 1000'), 'POST /classify HTTP/1.1\r\nHost: a\r\n'];
  const slow = await Promise.all(
    Array.from({ length: 500 }, async (_, at) => (await connectRaw(t, url)).send(half[at % 2] as string)),
  );
  await until(async () => (await metrics.connections.get()).values[0]?.value === 500);
  const answer = await fetch(`${url}/classify`, {
    method: 'POST',
    headers: { 'content-type': 'image/png' },
    body: red,
  });
  assert.equal(answer.status, 200);
  assert.ok(slow.every(({ text }) => text === ''));
  const codes = await Promise.all(slow.map(async (client) => (await client.lastAnswer()).code));
  assert.deepEqual(new Set(codes), new Set(['request_timeout']));
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
  const { url } = await startService(t, { maxRequestBytes: 100_000, headersTimeoutMs: 500, bodyTimeoutMs: 500 });
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
  const { url, metrics, log } = await startService(t, { headersTimeoutMs: 300, bodyTimeoutMs: 300 });
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
