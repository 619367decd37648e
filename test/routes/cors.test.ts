import assert from 'node:assert/strict';
import test from 'node:test';
import { parseConfig } from '../../src/config.js';
import { keyFile } from '../access/keys.js';
import { png, type Service, startService } from './service.js';

const red = await png('#e00000');
const demo = 'https://demo.example.org';
const asked = {
  origin: demo,
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'content-type,x-api-key',
};

/** The headers of an answer that other origins are told by. */
function corsHeaders(headers: Readonly<Record<string, string>>) {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name.startsWith('access-control-') || name === 'vary'),
  );
}

const exposed = 'X-Request-Id, Server-Timing, Retry-After';

const classify = ({ http }: Service, headers: Record<string, string>) =>
  http
    .post('/classify')
    .set({ 'content-type': 'image/png', ...headers })
    .send(red);

test('without --cors-origin no answer has a header for other origins, and OPTIONS tells what is allowed', async (t) => {
  const service = await startService(t);
  assert.deepEqual(corsHeaders((await classify(service, { origin: demo })).headers), {});
  const { status, headers } = await service.http.options('/classify').set(asked);
  assert.deepEqual([status, headers.allow, corsHeaders(headers)], [204, 'POST, OPTIONS', {}]);
});

test('a page of an origin in the list may read answers, errors among them', async (t) => {
  const service = await startService(t, { corsOrigin: ['http://localhost:3000', demo] });
  for (const answer of [
    await classify(service, { origin: demo }),
    await service.http.get('/nowhere').set({ origin: demo }),
    await service.http.get('/models/%ff%').set({ origin: demo }),
    await service.http.delete('/classify').set({ origin: demo }),
  ]) {
    assert.deepEqual(corsHeaders(answer.headers), {
      'access-control-allow-origin': demo,
      'access-control-expose-headers': exposed,
      vary: 'Origin',
    });
  }
});

test('a page of another origin, and one without, get no leave; caches are told to tell them apart', async (t) => {
  const service = await startService(t, { corsOrigin: [demo] });
  for (const origin of [
    'https://demo.example.org.evil.example',
    'https://evil.example',
    'http://demo.example.org',
    'https://demo.example.org:8443',
    'https://sub.demo.example.org',
    'HTTPS://DEMO.EXAMPLE.ORG',
    'null',
    '*',
    '',
  ]) {
    const answer = await classify(service, { origin });
    assert.deepEqual([answer.status, corsHeaders(answer.headers)], [200, { vary: 'Origin' }], origin);
    const preflight = await service.http.options('/classify').set({ ...asked, origin });
    assert.deepEqual([preflight.status, corsHeaders(preflight.headers)], [204, { vary: 'Origin' }], origin);
  }
  assert.deepEqual(corsHeaders((await classify(service, {})).headers), { vary: 'Origin' });
});

test('a preflight needs no key, and the request behind it does', async (t) => {
  const { apiKeyFile, key } = await keyFile(t);
  const service = await startService(t, { apiKeyFile, corsOrigin: [demo] });
  for (const path of ['/classify', '/models/colours/load', '/nowhere']) {
    const { status, headers, text } = await service.http.options(path).set(asked);
    assert.deepEqual([status, text], [204, ''], path);
    assert.deepEqual(corsHeaders(headers), {
      'access-control-allow-origin': demo,
      'access-control-allow-methods': 'GET, HEAD, POST',
      'access-control-allow-headers': 'Content-Type, Authorization, X-API-Key, X-Request-Id, X-Request-Timeout-Ms',
      'access-control-max-age': '7200',
      vary: 'Origin',
    });
  }
  const refused = await classify(service, { origin: demo });
  assert.equal(refused.status, 401);
  // Else the page would learn only that something failed.
  assert.equal(refused.headers['access-control-allow-origin'], demo);
  assert.equal((await classify(service, { origin: demo, 'x-api-key': key })).status, 200);
  // An OPTIONS that is no preflight is a request like others.
  assert.equal((await service.http.options('/classify').set({ origin: demo })).status, 401);
  assert.equal(
    (await service.http.options('/classify').set({ origin: demo, 'x-api-key': key })).headers.allow,
    'POST, OPTIONS',
  );
});

test('preflights do not count against --rate-limit', async (t) => {
  const rateLimit = { max: 1, windowMs: 3_600_000, text: '1 request an hour' };
  const service = await startService(t, { rateLimit, corsOrigin: [demo] });
  for (let at = 0; at < 3; at++) assert.equal((await service.http.options('/classify').set(asked)).status, 204);
  assert.equal((await classify(service, { origin: demo })).status, 200);
  const refused = await classify(service, { origin: demo });
  assert.deepEqual([refused.status, refused.headers['access-control-allow-origin']], [429, demo]);
});

test('--cors-origin "*": every page, and never with credentials', async (t) => {
  const service = await startService(t, { corsOrigin: ['*'] });
  for (const origin of [demo, 'null', 'http://evil.example']) {
    const { headers } = await classify(service, { origin });
    assert.deepEqual(corsHeaders(headers), {
      'access-control-allow-origin': '*',
      'access-control-expose-headers': exposed,
    });
    assert.equal((await service.http.options('/classify').set({ ...asked, origin })).status, 204);
  }
});

test('--cors-origin: what is allowed', () => {
  const read = (...argv: string[]) => parseConfig(argv, {}, 'serve').corsOrigin;
  const origins = [demo, 'http://localhost:3000', 'http://[::1]:8080', 'http://192.0.2.1', '*'];
  assert.deepEqual(read(...origins.map((origin) => `--cors-origin=${origin}`)), origins);
  assert.deepEqual(parseConfig([], { VGG_SERVE_CORS_ORIGIN: `${demo}, http://a` }, 'serve').corsOrigin, [
    demo,
    'http://a',
  ]);
  for (const refused of [
    ...['', 'null', 'demo.example.org', '//demo.example.org', 'ftp://a', `${demo}/`, `${demo}/page`, `${demo}:443`],
    ...[
      'https://*.example.org',
      'https://DEMO.example.org',
      'https://a@b',
      'https://',
      'https://a b',
      `${demo},${demo}`,
    ],
  ]) {
    assert.throws(() => read(`--cors-origin=${refused}`), { name: 'UsageError' }, refused);
  }
});
