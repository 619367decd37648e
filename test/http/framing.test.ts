import assert from 'node:assert/strict';
import test from 'node:test';
import { png, startService, until } from '../routes/service.js';
import { askOnce, connectRaw } from './raw.js';

const red = await png('#e00000');

/** What an attacker wants to be read as a request of its own. */
const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
const post = (...headers: string[]) => `POST /classify HTTP/1.1\r\nHost: a\r\n${headers.join('\r\n')}\r\n\r\n`;

/** Each could be read in two ways, by us and by a proxy before us. */
const ambiguous: Readonly<Record<string, string>> = {
  'Content-Length with Transfer-Encoding': `${post('Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n${smuggled}`,
  'Transfer-Encoding with Content-Length': `${post('Transfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n${smuggled}`,
  'two Content-Lengths': `${post('Content-Length: 0', 'Content-Length: 40')}${smuggled}`,
  'two equal Content-Lengths': `${post('Content-Length: 0', 'Content-Length: 0')}${smuggled}`,
  'a list of Content-Lengths': `${post('Content-Length: 0, 40')}${smuggled}`,
  'a Content-Length with a sign': `${post('Content-Length: +0')}${smuggled}`,
  'a negative Content-Length': `${post('Content-Length: -1')}${smuggled}`,
  'a Content-Length with a space in it': `${post('Content-Length: 0 0')}${smuggled}`,
  'a hexadecimal Content-Length': `${post('Content-Length: 0x0')}${smuggled}`,
  'an empty Content-Length': `${post('Content-Length:')}${smuggled}`,
  'a Content-Length of 2^64': `${post('Content-Length: 18446744073709551616')}${smuggled}`,
  'a space before the colon': `${post('Content-Length : 0')}${smuggled}`,
  'a header folded over two lines': `${post('X: a', ' Content-Length: 40')}${smuggled}`,
  'Transfer-Encoding folded over two lines': `${post('Transfer-Encoding:', ' chunked')}0\r\n\r\n${smuggled}`,
  'chunked, identity': `${post('Transfer-Encoding: chunked, identity')}0\r\n\r\n${smuggled}`,
  'chunked twice': `${post('Transfer-Encoding: chunked', 'Transfer-Encoding: identity')}0\r\n\r\n${smuggled}`,
  'an encoding nobody knows': `${post('Transfer-Encoding: xchunked')}0\r\n\r\n${smuggled}`,
  'chunked with a vertical tab': `${post('Transfer-Encoding: \x0bchunked')}0\r\n\r\n${smuggled}`,
  'chunked in quotes': `${post('Transfer-Encoding: "chunked"')}0\r\n\r\n${smuggled}`,
  'lines that end in LF alone': `POST /classify HTTP/1.1\nHost: a\nContent-Length: 0\n\n${smuggled}`,
  'a header that ends in LF alone': `POST /classify HTTP/1.1\r\nHost: a\r\nX: b\nContent-Length: 0\r\n\r\n${smuggled}`,
  'a head that ends in LF alone': `POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\n${smuggled}`,
  'CR alone in a header': `POST /classify HTTP/1.1\r\nHost: a\r\nX: b\rContent-Length: 0\r\n\r\n${smuggled}`,
  'NUL in a header': `${post('X: a\0b', 'Content-Length: 0')}${smuggled}`,
  'a control character in the name of a header': `${post('X\x01: a', 'Content-Length: 0')}${smuggled}`,
  'a space in the name of a header': `${post('X Y: a', 'Content-Length: 0')}${smuggled}`,
  'a line without a colon': `${post('Content-Length 0')}${smuggled}`,
  'a space before the first header': `POST /classify HTTP/1.1\r\n Host: a\r\nContent-Length: 0\r\n\r\n${smuggled}`,
  'two Hosts': `${post('Host: b', 'Content-Length: 0')}${smuggled}`,
  'HTTP/1.0 with Transfer-Encoding': `POST /classify HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
  'HTTP/1.2': `POST /classify HTTP/1.2\r\nHost: a\r\nContent-Length: 0\r\n\r\n${smuggled}`,
  'a space in the target': `POST /classify x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n${smuggled}`,
  'a control character in the target': `POST /\x01 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n${smuggled}`,
};

for (const [circumstance, bytes] of Object.entries(ambiguous)) {
  test(`a request that can be read in two ways: ${circumstance}`, async (t) => {
    const { url, log } = await startService(t);
    const { status, code, headers } = await askOnce(t, url, bytes);
    assert.deepEqual([status, code], [400, 'bad_request']);
    assert.equal(headers.connection, 'close');
    assertNotDone(log);
  });
}

/** Where the bytes behind were still seen as a request, it was neither done nor answered. */
function assertNotDone(log: readonly Record<string, unknown>[]): void {
  for (const { path, status } of log) if (path === '/smuggled') assert.equal(status, 499);
}

const image = 'Content-Type: image/png';
const chunkedPost = post(image, 'Transfer-Encoding: chunked');

/** In each, the head is good. */
const brokenChunks: Readonly<Record<string, string>> = {
  'a size that is no number': `zz\r\n${smuggled}`,
  'a size beyond 64 bits': `10000000000000000\r\n${smuggled}`,
  'a size with a sign': `+1\r\na\r\n0\r\n\r\n${smuggled}`,
  'a negative size': `-1\r\na\r\n0\r\n\r\n${smuggled}`,
  'a size in C': `0x1\r\na\r\n0\r\n\r\n${smuggled}`,
  'a size that ends in LF alone': `1\na\r\n0\r\n\r\n${smuggled}`,
  'a chunk longer than its size': `1\r\nab\r\n0\r\n\r\n${smuggled}`,
  'a chunk that ends in LF alone': `1\r\na\n0\r\n\r\n${smuggled}`,
  'an extension with a control character': `1;a\x01\r\na\r\n0\r\n\r\n${smuggled}`,
  'an extension with LF': `1;a\nb\r\na\r\n0\r\n\r\n${smuggled}`,
  'a trailer without a colon': `1\r\na\r\n0\r\nnonsense\r\n\r\n${smuggled}`,
};

for (const [circumstance, chunks] of Object.entries(brokenChunks)) {
  test(`a chunked body with ${circumstance}`, async (t) => {
    const { url, log } = await startService(t);
    const { status, code, headers } = await askOnce(t, url, chunkedPost + chunks);
    assert.deepEqual([status, code], [400, 'bad_request']);
    assert.equal(headers.connection, 'close');
    assertNotDone(log);
  });
}

const get = (...headers: string[]) => `GET /health/live HTTP/1.1\r\nHost: a\r\n${headers.join('\r\n')}\r\n\r\n`;

/** What is larger than it may be. */
const tooLarge: Readonly<Record<string, { bytes: string; code: string }>> = {
  '10,000 headers': {
    bytes: get(...Array.from({ length: 10_000 }, (_, at) => `x${at}: 1`)),
    code: 'headers_too_large',
  },
  'a header of 1 MB': { bytes: get(`x: ${'x'.repeat(1e6)}`), code: 'headers_too_large' },
  'a name of 1 MB': { bytes: get(`${'x'.repeat(1e6)}: x`), code: 'headers_too_large' },
  'a URL of 100 kB': { bytes: `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, code: 'headers_too_large' },
  'a query of 100 kB': { bytes: `GET /?${'x'.repeat(100_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, code: 'headers_too_large' },
  'trailers of 100 kB': {
    bytes: `${chunkedPost}1\r\na\r\n0\r\nx: ${'x'.repeat(100_000)}\r\n\r\n`,
    code: 'headers_too_large',
  },
  'extensions of one chunk of 100 kB': {
    bytes: `${chunkedPost}1;${'x'.repeat(100_000)}\r\na\r\n0\r\n\r\n`,
    code: 'request_too_large',
  },
};

for (const [circumstance, { bytes, code }] of Object.entries(tooLarge)) {
  test(`a request with ${circumstance}`, async (t) => {
    const { url } = await startService(t);
    const client = (await connectRaw(t, url)).send(bytes);
    const [answer] = await client.answered();
    assert.equal(answer?.code, code);
    await client.closed;
  });
}

/** What is no request of HTTP at all. */
const noRequest: Readonly<Record<string, string | Uint8Array>> = {
  'random bytes': Uint8Array.from({ length: 4096 }, (_, at) => (at * 197 + 91) % 256),
  'the beginning of TLS': Buffer.from('16030100c8010000c40303', 'hex'),
  'an unknown method': 'BREW /coffee HTTP/1.1\r\nHost: a\r\n\r\n',
  'a method in lower case': 'get / HTTP/1.1\r\nHost: a\r\n\r\n',
  'HTTP/0.9': 'GET /\r\n\r\n',
  'HTTP/2.0 in the request line': 'GET / HTTP/2.0\r\nHost: a\r\n\r\n',
  SSH: 'SSH-2.0-OpenSSH_9.6\r\n',
  'an answer': 'HTTP/1.1 200 OK\r\n\r\n',
  'a target without a slash': 'GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n',
};

for (const [circumstance, bytes] of Object.entries(noRequest)) {
  test(`a client that sends ${circumstance}`, async (t) => {
    const { url, log, metrics } = await startService(t);
    assert.equal((await askOnce(t, url, bytes)).code, 'bad_request');
    assert.deepEqual(
      log.map(({ msg, status, code }) => ({ msg, status, code })),
      [{ msg: circumstance.startsWith('HTTP/') ? 'request' : 'connection refused', status: 400, code: 'bad_request' }],
    );
    assert.equal((await metrics.requests.get()).values[0]?.labels.status, 400);
  });
}

test('the preface of HTTP/2: the connection ends', async (t) => {
  const { url } = await startService(t);
  const client = (await connectRaw(t, url)).send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  await client.closed;
  assert.doesNotMatch(client.text, / 200 /);
});

test('a request of HTTP/1.1 without Host', async (t) => {
  const { url } = await startService(t);
  const [answer] = await (await connectRaw(t, url)).send('GET /health/live HTTP/1.1\r\n\r\n').answered();
  assert.equal(answer?.code, 'bad_request');
  assert.match(answer?.body ?? '', /needs a Host header/);
});

test('nonsense behind a request that is under way: the request is answered first, then the nonsense', async (t) => {
  const { url, engine } = await startService(t);
  engine.hold();
  const client = (await connectRaw(t, url))
    .send(post(image, `Content-Length: ${red.length}`))
    .send(red)
    .send('nonsense\r\n\r\n');
  await until(() => engine.batches.length === 1);
  client.send('more nonsense\r\n\r\n');
  assert.equal(client.text, '');
  engine.release();
  await client.closed;
  assert.deepEqual(
    client.answers.map(({ status }) => status),
    [200, 400],
  );
});

test('pipelined requests are answered in order', async (t) => {
  const { url } = await startService(t);
  const paths = ['/health/live', '/nowhere', '/models/colours', '/metrics', '/health/ready', '/models/nobody'];
  const client = (await connectRaw(t, url)).send(
    paths.map((path, at) => `GET ${path} HTTP/1.1\r\nHost: a\r\nX-Request-Id: ${at}\r\n\r\n`).join(''),
  );
  const answers = await client.answered(paths.length);
  assert.deepEqual(
    answers.map(({ headers }) => headers['x-request-id']),
    ['0', '1', '2', '3', '4', '5'],
  );
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 404, 200, 200, 200, 404],
  );
});

test('a flood of pipelined requests behind one that takes long: 64 wait, the next ends the connection', async (t) => {
  const { url, engine, metrics } = await startService(t);
  engine.hold();
  const client = (await connectRaw(t, url)).send(post(image, `Content-Length: ${red.length}`)).send(red);
  await until(() => engine.batches.length === 1);
  client.send(get().repeat(20_000));
  // Further ones are read until the refusals alone fill the buffer of answers; then no more.
  await until(async () => ((await metrics.inFlight.get()).values[0]?.value ?? 0) > 65);
  engine.release();
  await client.closed;
  const statuses = client.answers.map(({ status }) => status);
  assert.deepEqual(statuses, [...Array.from({ length: 64 }, () => 200), 503]);
  assert.equal(client.answers.at(-1)?.code, 'queue_full');
});
