import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import test from 'node:test';
import { png, queueDepth, startService, until } from './service.js';

const red = await png('#e00000');
const green = await png('#00e000');
const blue = await png('#0000e0');

interface Answer {
  model: string;
  weights: string;
  engine: string;
  device: string;
  precision: string;
  results: {
    file: string | null;
    predictions?: { label: string; index: number; probability: number }[];
    error?: { code: string; title: string; status: number; detail: string };
  }[];
  timings_ms: Record<'decode' | 'queue' | 'compute' | 'total', number>;
  batch_size: number;
}

/** For each picture its likeliest label, or the code of its error. */
function labels({ results }: Answer): (string | undefined)[] {
  return results.map(({ predictions, error }) => predictions?.[0]?.label ?? error?.code);
}

test('POST /classify with one multipart file has the documented shape', async (t) => {
  const { http } = await startService(t);
  const response = await http.post('/classify').attach('image', green, 'meadow.png');
  assert.equal(response.status, 200);
  assert.match(response.headers['content-type'] ?? '', /^application\/json/);
  const answer: Answer = response.body;
  assert.deepEqual(Object.keys(answer), [
    ...['model', 'weights', 'engine', 'device', 'precision'],
    ...['results', 'timings_ms', 'batch_size'],
  ]);
  assert.equal(answer.model, 'colours');
  assert.equal(answer.weights, 'COLOURS_V1');
  assert.deepEqual([answer.engine, answer.device, answer.precision], ['onnxruntime', 'cpu', 'fp32']);
  assert.equal(answer.results.length, 1);
  assert.deepEqual(Object.keys(answer.results[0] ?? {}), ['file', 'predictions']);
  assert.equal(answer.results[0]?.file, 'meadow.png');
  const predictions = answer.results[0]?.predictions ?? [];
  assert.deepEqual(
    predictions.map(({ label, index }) => ({ label, index })),
    [
      { label: 'green', index: 1 },
      { label: 'red', index: 0 },
      { label: 'blue', index: 2 },
    ],
  );
  assert.equal(answer.batch_size, 1);
});

test('POST /classify gives probabilities with the precision of a double', async (t) => {
  const { http } = await startService(t);
  const { body } = await http.post('/classify').attach('image', green, 'g.png');
  const logit = Math.fround((body as Answer).results.length * (0xe0 / 255));
  const likeliest = Math.exp(logit) / (Math.exp(logit) + 2);
  const given = (body as Answer).results[0]?.predictions?.map(({ probability }) => probability) ?? [];
  // The logit is a float32 sum of 64 terms, the softmax is exact.
  assert.ok(Math.abs((given[0] as number) - likeliest) < 1e-6, String(given[0]));
  assert.ok(Math.abs(given.reduce((a, b) => a + b, 0) - 1) < 1e-15);
});

test('POST /classify tells its times in the answer, in Server-Timing and in one log line', async (t) => {
  const { http, log } = await startService(t);
  const { body, headers } = await http.post('/classify').attach('image', red, 'a.png');
  const { decode, queue, compute, total } = (body as Answer).timings_ms;
  assert.equal(compute, 1.5);
  for (const ms of [decode, queue, compute, total]) assert.equal(ms, Number(ms.toFixed(3)));
  assert.ok(decode > 0 && queue >= 0);
  assert.ok(total >= Math.max(decode, queue));
  const timing = `decode;dur=${decode}, queue;dur=${queue}, compute;dur=${compute}, total;dur=${total}`;
  assert.equal(headers['server-timing'], timing);

  await until(() => log.length > 0);
  const { time, duration_ms, ...line } = log[0] ?? {};
  assert.equal(log.length, 1);
  assert.equal(typeof time, 'number');
  assert.ok(Number(duration_ms) >= total);
  assert.deepEqual(line, {
    level: 30,
    request_id: headers['x-request-id'],
    method: 'POST',
    route: '/classify',
    status: 200,
    model: 'colours',
    pictures: 1,
    batch_size: 1,
    timings_ms: { decode, queue, compute, total },
    msg: 'request',
  });
});

test('POST /classify with multipart files under any field names answers them in order', async (t) => {
  const { http } = await startService(t);
  const { body } = await http
    .post('/classify')
    .attach('image', red, 'first.png')
    .attach('images[]', blue, 'second.png')
    .attach('whatever', green, { filename: 'third.png', contentType: 'text/plain' });
  assert.deepEqual(labels(body), ['red', 'blue', 'green']);
  assert.deepEqual(
    (body as Answer).results.map(({ file }) => file),
    ['first.png', 'second.png', 'third.png'],
  );
});

test('POST /classify with a multipart picture that has no file name', async (t) => {
  const { http } = await startService(t);
  const parts = [
    '--b\r\ncontent-disposition: form-data; name="image"\r\ncontent-type: image/png\r\n\r\n',
    red,
    '\r\n--b--\r\n',
  ];
  const { body } = await http
    .post('/classify')
    .set('content-type', 'multipart/form-data; boundary=b')
    .send(Buffer.concat(parts.map((part) => Buffer.from(part))) as never);
  assert.deepEqual(labels(body), ['red']);
  assert.equal((body as Answer).results[0]?.file, null);
});

for (const type of ['image/png', 'image/jpeg', 'application/octet-stream', 'IMAGE/PNG; x=y']) {
  test(`POST /classify with a raw picture as ${type}`, async (t) => {
    const { http } = await startService(t);
    const { status, body } = await http.post('/classify').set('content-type', type).send(blue);
    assert.equal(status, 200);
    assert.deepEqual(labels(body), ['blue']);
    assert.equal((body as Answer).results[0]?.file, null);
  });
}

test('POST /classify with a raw picture in chunks, without Content-Length', async (t) => {
  const { url } = await startService(t);
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(red.subarray(0, 20));
      controller.enqueue(red.subarray(20));
      controller.close();
    },
  });
  const response = await fetch(`${url}/classify`, {
    method: 'POST',
    headers: { 'content-type': 'image/png' },
    body,
    duplex: 'half',
  });
  assert.deepEqual(labels((await response.json()) as Answer), ['red']);
});

test('POST /classify with JSON: texts, data: URIs and pictures with names', async (t) => {
  const { http } = await startService(t);
  const { status, body } = await http.post('/classify').send({
    images: [
      red.toString('base64'),
      `data:image/png;base64,${green.toString('base64')}`,
      { file: 'sky.png', data: blue.toString('base64') },
    ],
  });
  assert.equal(status, 200);
  assert.deepEqual(labels(body), ['red', 'green', 'blue']);
  assert.deepEqual(
    (body as Answer).results.map(({ file }) => file),
    [null, null, 'sky.png'],
  );
});

test('POST /classify with as many pictures as are allowed', async (t) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on('warning', onWarning);
  t.after(() => process.off('warning', onWarning));
  const { http } = await startService(t);
  const images = Array.from({ length: 16 }, () => blue.toString('base64'));
  const { body } = await http.post('/classify').send({ images });
  assert.deepEqual(labels(body), Array(16).fill('blue'));
  assert.deepEqual(warnings, []);
});

test('POST /classify with JSON of one picture', async (t) => {
  const { http } = await startService(t);
  for (const image of [red.toString('base64'), { file: 'a.png', data: red.toString('base64') }]) {
    const { body } = await http.post('/classify').send({ image });
    assert.deepEqual(labels(body), ['red']);
  }
});

test('POST /classify?top_k gives as many labels; more than there are classes gives all', async (t) => {
  const { http } = await startService(t, { topK: 2 });
  const lengths = [];
  for (const query of ['', '?top_k=1', '?top_k=3', '?top_k=1000', '?top_k=99999999999999999999999']) {
    const { body } = await http.post(`/classify${query}`).attach('image', red, 'a.png');
    lengths.push((body as Answer).results[0]?.predictions?.length);
  }
  assert.deepEqual(lengths, [2, 1, 3, 3, 3]);
});

test('POST /classify?model asks that model; without it, the first', async (t) => {
  const { http } = await startService(t, {}, { models: ['colours', 'others'] });
  const models = [];
  for (const query of ['', '?model=others', '?model=colours&top_k=1']) {
    const { body } = await http.post(`/classify${query}`).attach('image', red, 'a.png');
    models.push((body as Answer).model);
  }
  assert.deepEqual(models, ['colours', 'others', 'colours']);
});

test('POST /classify: pictures that come while the engine is busy travel in one batch', async (t) => {
  const service = await startService(t);
  const { http, engine } = service;
  engine.hold();
  const first = http
    .post('/classify')
    .attach('image', red, 'a.png')
    .then((response) => response);
  await until(() => engine.batches.length === 1);
  const three = http.post('/classify').attach('a', red, 'a').attach('b', green, 'b').attach('c', blue, 'c');
  const second = three.then((response) => response);
  await until(async () => (await queueDepth(service)) === 3);
  engine.release();
  assert.equal((await first).body.batch_size, 1);
  const { body } = await second;
  assert.equal(body.batch_size, 3);
  assert.deepEqual(labels(body), ['red', 'green', 'blue']);
  assert.deepEqual(engine.batches, [1, 3]);
});

test('POST /classify with several pictures: a bad one is an error in its own result', async (t) => {
  const { http, metrics } = await startService(t, { maxPictureBytes: 2000 });
  const response = await http
    .post('/classify')
    .attach('a', red, 'a.png')
    .attach('b', Buffer.from('words'), 'b.txt')
    .attach('c', Buffer.concat([red, Buffer.alloc(3000)]), 'c.png')
    .attach('d', blue, 'd.png');
  assert.equal(response.status, 200);
  const answer: Answer = response.body;
  assert.deepEqual(labels(answer), ['red', 'not_an_image', 'image_too_many_bytes', 'blue']);
  assert.deepEqual(Object.keys(answer.results[1] ?? {}), ['file', 'error']);
  assert.deepEqual(Object.keys(answer.results[1]?.error ?? {}), ['code', 'title', 'status', 'detail']);
  assert.equal(answer.results[1]?.error?.status, 415);
  assert.equal(answer.results[2]?.file, 'c.png');
  const { values } = await metrics.errors.get();
  assert.deepEqual(
    values.map(({ labels, value }) => ({ ...labels, value })),
    [
      { model: 'colours', code: 'not_an_image', value: 1 },
      { model: 'colours', code: 'image_too_many_bytes', value: 1 },
    ],
  );
});

test('POST /classify with several bad pictures and no good one is still an answer for each', async (t) => {
  const { http } = await startService(t);
  const { status, body } = await http.post('/classify').send({ images: ['d29yZHM=', '!'] });
  assert.equal(status, 200);
  assert.deepEqual(labels(body), ['not_an_image', 'bad_base64']);
  assert.equal((body as Answer).batch_size, 0);
});

test('POST /classify with several pictures that all fail in the engine is answered with that error', async (t) => {
  const { http, engine, log } = await startService(t);
  engine.failure = new TypeError('out of paint');
  const { status, body } = await http.post('/classify').attach('a', red, 'a.png').attach('b', blue, 'b.png');
  assert.equal(status, 500);
  assert.equal(body.code, 'internal');
  await until(() => log.length > 0);
  assert.match(JSON.stringify(log[0]), /out of paint.*at /);
});

test('POST /classify with several pictures at the deadline: its status if none is answered, else an error for each', async (t) => {
  const { http, engine } = await startService(t, { timeoutMs: 500 });
  engine.hold();
  const none = await http.post('/classify').attach('a', red, 'a.png').attach('b', blue, 'b.png');
  assert.equal(none.status, 504);
  assert.equal(none.body.code, 'deadline_exceeded');
  const some = await http.post('/classify').attach('a', Buffer.from('words'), 'a').attach('b', blue, 'b.png');
  assert.equal(some.status, 200);
  assert.deepEqual(labels(some.body), ['not_an_image', 'deadline_exceeded']);
});

test('POST /classify with several pictures of which some fail in the server: the log has the fault', async (t) => {
  const { http, engine, log } = await startService(t);
  engine.failure = new TypeError('out of paint');
  const { status, body } = await http
    .post('/classify')
    .attach('a', red, 'a.png')
    .attach('b', Buffer.from('words'), 'b');
  assert.equal(status, 200);
  assert.deepEqual(labels(body), ['internal', 'not_an_image']);
  await until(() => log.length > 0);
  assert.equal(log[0]?.level, 50);
  assert.match(JSON.stringify(log[0]), /out of paint.*at /);
});

test('a client that leaves takes its pictures out of the queue', async (t) => {
  const service = await startService(t, { maxBatchSize: 1 });
  const { http, engine, url, metrics } = service;
  engine.hold();
  const first = http
    .post('/classify')
    .attach('image', red, 'a.png')
    .then((response) => response);
  await until(() => engine.batches.length === 1);
  const client = new AbortController();
  const body = JSON.stringify({ images: [red, green, blue].map((bytes) => bytes.toString('base64')) });
  const headers = { 'content-type': 'application/json' };
  const left = assert.rejects(fetch(`${url}/classify`, { method: 'POST', headers, body, signal: client.signal }));
  await until(async () => (await queueDepth(service)) === 3);
  client.abort();
  await left;
  await until(async () => (await queueDepth(service)) === 0);
  engine.release();
  assert.equal((await first).status, 200);
  assert.deepEqual(engine.batches, [1]);
  assert.deepEqual((await metrics.abandoned.get()).values, [
    { value: 1, labels: { model: 'colours', stage: 'queue', reason: 'client' } },
  ]);
});

test('POST /classify: after an error the rest of the body is read and the connection stays usable', async (t) => {
  const { url, http } = await startService(t, { maxPictureBytes: 1000, maxPictures: 1, maxRequestBytes: 50_000_000 });
  const { port, hostname } = new URL(url);
  // More than the kernel takes in before the server reads.
  const big = Buffer.alloc(16_000_000, 1);
  const part = (name: string) => `--b\r\ncontent-disposition: form-data; name="${name}"; filename="f"\r\n\r\n`;
  const bodies = {
    'image/png': big,
    'application/json': Buffer.from(`["${big.toString('base64')}"]`),
    'multipart/form-data; boundary=b': Buffer.concat([
      Buffer.from(part('a')),
      big.subarray(0, 8_000_000),
      Buffer.from(`\r\n${part('b')}`),
      big.subarray(0, 8_000_000),
      Buffer.from('\r\n--b--\r\n'),
    ]),
  };
  for (const [type, body] of Object.entries(bodies)) {
    for (const framing of [{ 'content-length': body.length }, { 'transfer-encoding': 'chunked' }]) {
      const request = httpRequest({
        hostname,
        port,
        path: '/classify',
        method: 'POST',
        headers: { 'content-type': type, ...framing },
      });
      const answered = new Promise<number | undefined>((resolve, reject) => {
        request.on('response', (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        request.on('error', reject);
      });
      // Without a reader for the rest, the end of this never gets through.
      await new Promise<void>((resolve) => request.end(body, resolve));
      assert.ok([400, 413].includes((await answered) ?? 0), type);
    }
  }
  assert.equal((await http.get('/health/live')).status, 200);
});
