import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { png, type Service, startService, until } from './service.js';

const red = await png('#e00000');

/** A service whose only run has taken so long already that an answer is at least `etaMs` away. */
async function startBusy(t: TestContext, etaMs: number, overrides = {}): Promise<Service> {
  const service = await startService(t, overrides);
  assert.equal((await post(service)).status, 200);
  service.engine.hold();
  void post(service).catch(() => {});
  await until(() => service.registry.get().predictMs() >= etaMs);
  return service;
}

test('a request that cannot be answered in time is refused when its head is here, and its body is never read', async (t) => {
  const service = await startBusy(t, 100);
  const decodes = async () =>
    (await service.metrics.registry.metrics()).match(/^vgg_serve_decode_seconds_count.*$/m)?.[0];
  const before = await decodes();
  const socket = open(service, t);
  socket.write(head({ 'content-length': 5_000_000, 'x-request-timeout-ms': 90 }));
  const { status, headers, body } = await nextAnswer(socket);
  assert.equal(status, 503);
  assert.equal(body.code, 'overloaded');
  assert.equal(headers['retry-after'], '1');
  assert.ok(Number.isInteger(body.eta_ms) && Number(body.eta_ms) >= 100, JSON.stringify(body));
  assert.match(String(body.detail), /in about \d+ ms, and \d+ ms are left/);
  assert.equal(await decodes(), before);
  assert.equal((await service.metrics.uploadBytes.get()).values[0]?.value, 0);
});

test('after a refusal the rest of a small body is dropped, and the connection stays usable', async (t) => {
  const service = await startBusy(t, 100);
  const socket = open(service, t);
  const refused = { 'content-length': red.length, 'x-request-timeout-ms': 90 };
  socket.write(head(refused));
  assert.equal((await nextAnswer(socket)).status, 503);
  socket.write(red);
  for (let round = 0; round < 3; round++) {
    socket.write(Buffer.concat([Buffer.from(head(refused)), red]));
    assert.equal((await nextAnswer(socket)).status, 503);
  }
  socket.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n');
  assert.equal((await nextAnswer(socket)).status, 200);
});

test('a request that comes in one piece with a refused one has its body', async (t) => {
  const service = await startBusy(t, 100);
  const socket = open(service, t);
  const refused = Buffer.from(head({ 'content-length': red.length, 'x-request-timeout-ms': 90 }));
  const good = Buffer.from(head({ 'content-length': red.length }));
  socket.write(Buffer.concat([refused, red, good, red]));
  assert.equal((await nextAnswer(socket)).status, 503);
  service.engine.release();
  assert.equal((await nextAnswer(socket)).status, 200);
});

test('clients that leave in the body of a refused request take nothing of the next ones', async (t) => {
  const service = await startBusy(t, 100);
  const connections = async () => (await service.metrics.connections.get()).values[0]?.value;
  const before = await connections();
  for (let client = 0; client < 5; client++) {
    const socket = open(service, t);
    socket.write(Buffer.concat([Buffer.from(head({ 'content-length': 5000, 'x-request-timeout-ms': 90 })), red]));
    assert.equal((await nextAnswer(socket)).status, 503);
    socket.destroy();
  }
  await until(async () => (await connections()) === before);
  service.engine.release();
  for (let client = 0; client < 5; client++) {
    const socket = open(service, t);
    socket.write(Buffer.concat([Buffer.from(head({ 'content-length': red.length })), red]));
    assert.equal((await nextAnswer(socket)).status, 200);
  }
});

test('a full queue is refused when the head is here, too, and without eta_ms', async (t) => {
  const service = await startService(t, { maxQueue: 1, maxBatchSize: 1 });
  service.engine.hold();
  const [first, second] = [post(service), post(service)];
  await until(() => service.engine.batches.length === 1);
  const socket = open(service, t);
  await until(async () => (await service.metrics.queueDepth.get()).values[0]?.value === 1);
  socket.write(head({ 'content-length': 5_000_000 }));
  const { status, body } = await nextAnswer(socket);
  assert.deepEqual([status, body.code, 'eta_ms' in body], [503, 'queue_full', false]);
  service.engine.release();
  assert.deepEqual([(await first).status, (await second).status], [200, 200]);
});

for (const value of ['0', '-1', '1.5', '1e3', '', 'soon', '5, 6', ' ']) {
  test(`X-Request-Timeout-Ms: ${JSON.stringify(value)} is refused by its name`, async (t) => {
    const { http } = await startService(t);
    const { status, body } = await http
      .post('/classify')
      .set({ 'content-type': 'image/png', 'x-request-timeout-ms': value })
      .send(red);
    assert.deepEqual([status, body.code], [400, 'bad_request']);
    assert.match(body.detail, /The header X-Request-Timeout-Ms is ".*"; allowed is one whole number/);
  });
}

test('X-Request-Timeout-Ms shortens the deadline, and cannot make it longer than --timeout-ms', async (t) => {
  const service = await startService(t, { timeoutMs: 300 });
  service.engine.hold();
  for (const [header, allowed] of Object.entries({ '80': 80, '0080': 80, '300': 300, '99999999999999999999': 300 })) {
    const answer = await post(service, { 'x-request-timeout-ms': header });
    const { code, detail } = (await answer.json()) as { code: string; detail: string };
    // The clock of the queue or that of the request: the same moment.
    assert.equal(code, 'deadline_exceeded');
    if (detail.includes('allowed. Try')) assert.match(detail, new RegExp(`within the ${allowed} ms allowed`));
  }
});

test('--max-upload-bytes: bodies of all requests together, by Content-Length and while a body in chunks grows', async (t) => {
  const service = await startService(t, { maxUploadBytes: 100_000 });
  const [first, second, chunked] = [open(service, t), open(service, t), open(service, t)];
  const held = async () => (await service.metrics.uploadBytes.get()).values[0]?.value;
  first.write(head({ 'content-length': 80_000 }));
  await until(async () => (await held()) === 80_000);

  second.write(head({ 'content-length': 20_001 }));
  const refused = await nextAnswer(second);
  assert.deepEqual([refused.status, refused.body.code, refused.headers['retry-after']], [503, 'overloaded', '1']);
  assert.match(String(refused.body.detail), /take 80000 of the 100000 bytes/);

  chunked.write(`${head({ 'transfer-encoding': 'chunked' })}${chunk(15_000)}`);
  await until(async () => (await held()) === 95_000);
  chunked.write(chunk(6000));
  assert.equal((await nextAnswer(chunked)).body.code, 'overloaded');
  assert.equal(await held(), 80_000);
  // What still comes of it is dropped.
  chunked.write(`${chunk(50_000)}0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: a\r\n\r\n`);
  assert.equal((await nextAnswer(chunked)).status, 200);

  first.destroy();
  await until(async () => (await held()) === 0);
  assert.equal((await post(service)).status, 200);
  assert.equal(await held(), 0);
});

test('--max-upload-bytes smaller than a body: it is taken when it is alone', async (t) => {
  const service = await startService(t, { maxUploadBytes: 10 });
  assert.equal((await post(service)).status, 200);
});

test('GET /metrics tells the predicted wait of each model that is ready, as of now', async (t) => {
  const service = await startBusy(t, 50);
  const read = async () =>
    Number(
      /^vgg_serve_predicted_wait_seconds\{model="colours"\} (\S+)$/m.exec(
        (await service.http.get('/metrics')).text,
      )?.[1],
    );
  const before = await read();
  assert.ok(before >= 0.05, String(before));
  assert.ok((await read()) > before, 'the run in flight is later still');
  service.engine.release();
  await service.registry.unload('colours');
  assert.ok(Number.isNaN(await read()));
});

async function post({ url }: Service, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${url}/classify`, {
    method: 'POST',
    headers: { 'content-type': 'image/png', ...headers },
    body: red,
  });
}

function open({ url }: Service, t: TestContext): Socket {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  t.after(() => socket.destroy());
  return socket;
}

function head(headers: Record<string, string | number>): string {
  const lines = Object.entries({ host: 'a', 'content-type': 'image/png', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return `POST /classify HTTP/1.1\r\n${lines.join('')}\r\n`;
}

function chunk(bytes: number): string {
  return `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n`;
}

/** One answer of a kept connection. */
async function nextAnswer(socket: Socket) {
  let text = '';
  for (;;) {
    text += String((await once(socket, 'data'))[0]);
    const [fields = '', body] = text.split('\r\n\r\n');
    const headers = Object.fromEntries(fields.split('\r\n').map((line) => line.toLowerCase().split(': '))) as Record<
      string,
      string
    >;
    if (body === undefined || body.length < Number(headers['content-length'])) continue;
    return { status: Number(text.split(' ')[1]), headers, body: JSON.parse(body) as Record<string, unknown> };
  }
}
