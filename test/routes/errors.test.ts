import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import test, { type TestContext } from 'node:test';
import sharp from 'sharp';
import { type ErrorCode, errorTable, ServiceError } from '../../src/errors.js';
import { keyFile } from '../access/keys.js';
import { png, queueDepth, type Service, startService, until } from './service.js';

const red = await png('#e00000');
const jpeg = await sharp(red).jpeg().toBuffer();

/** What a client sees of an error. */
interface Seen {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Record<string, unknown>;
}

/** For every code of the table, how a client comes to see it. */
const provocations = {
  not_an_image: async (t) => await post(await startService(t), Buffer.from('words')),
  format_not_allowed: async (t) => await post(await startService(t), Buffer.from('GIF89a')),
  image_truncated: async (t) => await post(await startService(t), jpeg.subarray(0, jpeg.length / 2)),
  image_corrupt: async (t) => await post(await startService(t), corruptPng()),
  image_too_many_bytes: async (t) => await post(await startService(t, { maxPictureBytes: red.length - 1 }), red),
  image_too_many_pixels: async (t) => await post(await startService(t, { maxPixels: 16 * 12 - 1 }), red),
  image_extreme_aspect: async (t) => await post(await startService(t, { maxAspect: 3 }), await png('red', 4, 1)),
  empty_body: async (t) => await post(await startService(t), Buffer.alloc(0)),
  no_image: async (t) => await (await startService(t)).http.post('/classify').send({ images: [] }),
  async too_many_images(t) {
    const { http } = await startService(t, { maxPictures: 1 });
    return await http.post('/classify').attach('a', red, 'a.png').attach('b', red, 'b.png');
  },
  request_too_large: async (t) => await post(await startService(t, { maxRequestBytes: red.length - 1 }), red),
  unsupported_media_type: async (t) => await post(await startService(t), red, 'application/x-www-form-urlencoded'),
  bad_json: async (t) => await post(await startService(t), '{"images": [', 'application/json'),
  bad_base64: async (t) => await (await startService(t)).http.post('/classify').send({ image: 'not base64' }),
  bad_multipart: async (t) =>
    await post(await startService(t), Buffer.from('words'), 'multipart/form-data; boundary=b'),
  bad_top_k: async (t) => await post(await startService(t), red, 'image/png', '?top_k=0'),
  unknown_query_parameter: async (t) => await post(await startService(t), red, 'image/png', '?topk=1'),
  bad_request: async (t) => await (await startService(t)).http.get('/models/%ff%'),
  unauthorized: async (t) =>
    await (await startService(t, { adminToken: 'secret' })).http.post('/models/colours/unload'),
  async forbidden(t) {
    const { key, apiKeyFile } = await keyFile(t);
    return await (await startService(t, { apiKeyFile })).http.post('/models/colours/unload').set({ 'x-api-key': key });
  },
  not_found: async (t) => await (await startService(t)).http.get('/clasify'),
  method_not_allowed: async (t) => await (await startService(t)).http.get('/classify'),
  async request_timeout(t) {
    const { url } = await startService(t, { headersTimeoutMs: 50 });
    return await rawAnswer(url, 'GET / HTTP/1.1\r\n');
  },
  async expectation_failed(t) {
    const { url } = await startService(t);
    return await rawAnswer(url, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: a miracle\r\n\r\n');
  },
  async rate_limited(t) {
    const { http } = await startService(t, { rateLimit: { max: 1, windowMs: 3_600_000, text: '1 request an hour' } });
    await http.get('/models');
    return await http.get('/models');
  },
  async headers_too_large(t) {
    const { url } = await startService(t);
    return await rawAnswer(url, `GET / HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`);
  },
  async client_closed_request(t) {
    const service = await startService(t);
    service.engine.hold();
    const client = new AbortController();
    const left = fetch(`${service.url}/classify`, {
      method: 'POST',
      headers: { 'content-type': 'image/png' },
      body: red,
      signal: client.signal,
    });
    await until(() => service.engine.batches.length === 1);
    client.abort();
    await assert.rejects(left);
    // There is no one to answer; the log and the metrics tell.
    await until(() => service.log.length > 0);
    const { status, code } = service.log[0] ?? {};
    const [error] = (await service.metrics.errors.get()).values;
    assert.deepEqual(error?.labels, { model: 'colours', code });
    const { title } = errorTable.client_closed_request;
    return {
      status: Number(status),
      headers: { 'content-type': 'application/problem+json', 'x-request-id': 'none' },
      body: { type: `urn:vgg-serve:error:${code}`, title, status, detail: '-', code, request_id: 'none' },
    };
  },
  unknown_model: async (t) => await post(await startService(t), red, 'image/png', '?model=colors'),
  model_not_ready: async (t) => await post(await startService(t, {}, { load: false }), red),
  async queue_full(t) {
    const service = await startService(t, { maxQueue: 1, maxBatchSize: 1 });
    service.engine.hold();
    void post(service, red).catch(() => {});
    await until(() => service.engine.batches.length === 1);
    void post(service, red).catch(() => {});
    await until(async () => (await queueDepth(service)) === 1);
    return await post(service, red);
  },
  async overloaded(t) {
    const service = await startService(t);
    await post(service, red);
    service.engine.hold();
    void post(service, red).catch(() => {});
    // The run has by far outlasted the one before it, and will take as long again.
    await until(() => service.registry.get().predictMs() > 60);
    return await service.http
      .post('/classify')
      .set('content-type', 'image/png')
      .set('x-request-timeout-ms', '50')
      .send(red);
  },
  async shutting_down(t) {
    const service = await startService(t);
    service.engine.hold();
    const underWay = post(service, red);
    await until(() => service.engine.batches.length === 1);
    const accepted = once(service.app.server, 'connection');
    const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
    socket.write('GET /health/ready HTTP/1.1\r\nhost: a\r\n');
    await accepted;
    const closed = service.app.close();
    await until(() => !service.app.server.listening);
    const answer = readAnswer(socket);
    socket.write('\r\n');
    const seen = await answer;
    service.engine.release();
    assert.equal((await underWay).status, 200);
    await closed;
    return seen;
  },
  async deadline_exceeded(t) {
    const service = await startService(t, { timeoutMs: 100 });
    service.engine.hold();
    return await post(service, red);
  },
  async engine_failed(t) {
    const service = await startService(t);
    service.engine.failure = new ServiceError('engine_failed', 'The engine ended twice.');
    return await post(service, red);
  },
  async internal(t) {
    const service = await startService(t);
    service.engine.failure = new TypeError('secret');
    return await post(service, red);
  },
} satisfies Record<ErrorCode, (t: TestContext) => Promise<Seen>>;

test('every code of the table has a test', () => {
  assert.deepEqual(Object.keys(provocations).sort(), Object.keys(errorTable).sort());
});

for (const [code, provoke] of Object.entries(provocations) as [ErrorCode, (t: TestContext) => Promise<Seen>][]) {
  test(`a client that provokes ${code}`, async (t) => {
    const { status, headers, body } = await provoke(t);
    assert.equal(body.code, code, JSON.stringify(body));
    assert.equal(status, errorTable[code].status);
    assert.equal(body.status, status);
    assert.equal(body.title, errorTable[code].title);
    assert.equal(body.type, `urn:vgg-serve:error:${code}`);
    assert.match(headers['content-type'] ?? '', /^application\/problem\+json/);
    assert.equal(body.request_id, headers['x-request-id']);
    assert.equal(typeof body.detail === 'string' && body.detail.length > 0, true);
    assert.doesNotMatch(JSON.stringify(body), /secret|\.[jt]s:|node_modules|\bat \w+ \(/);
    if (status === 503 || status === 429) assert.match(headers['retry-after'] ?? '', /^[1-9]\d*$/);
  });
}

test('docs/errors.md has one row for each code, with its status', async () => {
  const text = await readFile(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` +\| (\d+) +\|/gm)].map(([, code, status]) => [code, Number(status)]);
  assert.deepEqual(
    rows.sort(),
    Object.entries(errorTable)
      .map(([code, { status }]) => [code, status])
      .sort(),
  );
});

/** POST /classify with the body as it is. */
async function post({ http }: Service, body: Buffer | string, type = 'image/png', query = ''): Promise<Seen> {
  return await http.post(`/classify${query}`).set('content-type', type).send(body);
}

/** A PNG whose pixels do not fit their checksum. */
function corruptPng(): Buffer {
  const bytes = Buffer.from(red);
  const at = bytes.indexOf('IDAT') + 8;
  bytes[at] = (bytes[at] as number) ^ 0xff;
  return bytes;
}

async function rawAnswer(url: string, text: string): Promise<Seen> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.write(text);
  return await readAnswer(socket);
}

/** Reads until the connection ends. */
async function readAnswer(socket: AsyncIterable<Buffer>): Promise<Seen> {
  const chunks = [];
  for await (const chunk of socket) chunks.push(chunk);
  const [head = '', body = ''] = Buffer.concat(chunks).toString().split('\r\n\r\n');
  const [statusLine = '', ...fields] = head.split('\r\n');
  const headers = Object.fromEntries(fields.map((field) => field.toLowerCase().split(': ')));
  return { status: Number(statusLine.split(' ')[1]), headers, body: JSON.parse(body) };
}
