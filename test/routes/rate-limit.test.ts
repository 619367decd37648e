import assert from 'node:assert/strict';
import { request } from 'node:http';
import test from 'node:test';
import Fastify from 'fastify';
import { openAccess } from '../../src/access/access.js';
import { makeKey } from '../../src/access/key-file.js';
import { parseConfig } from '../../src/config.js';
import { rate } from '../../src/option-kinds.js';
import { guards } from '../../src/routes/guard.js';
import { keyFile } from '../access/keys.js';
import { png, type Service, startService, until } from './service.js';

const red = await png('#e00000');

/** So few that a test sees the end of them, in a window that no test outlasts. */
const twoAnHour = rate('N/UNIT').parse('2/h');
assert.ok(twoAnHour);

async function statuses(service: Service, count: number, headers: Record<string, string> = {}, path = '/models') {
  const seen = [];
  for (let at = 0; at < count; at++) seen.push((await service.http.get(path).set(headers)).status);
  return seen;
}

test('--rate-limit by address: the requests beyond it are answered with 429, and when to come again', async (t) => {
  const service = await startService(t, { rateLimit: twoAnHour });
  const first = await service.http.get('/models');
  assert.equal(first.status, 200);
  assert.deepEqual(
    ['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'].map((name) => first.headers[name]),
    ['2', '1', '3600'],
  );
  assert.equal((await service.http.post('/classify').set('content-type', 'image/png').send(red)).status, 200);
  const { status, headers, body } = await service.http.post('/classify').set('content-type', 'image/png').send(red);
  assert.deepEqual([status, body.code], [429, 'rate_limited']);
  assert.match(headers['content-type'] ?? '', /^application\/problem\+json/);
  assert.equal(headers['ratelimit-remaining'], '0');
  const wait = Number(headers['retry-after']);
  assert.ok(wait > 3500 && wait <= 3600, headers['retry-after']);
  assert.match(body.detail, /^More than 2 requests an hour came from your address: wait \d+ s, as Retry-After says\.$/);
  assert.equal(service.engine.batches.length, 1);
  await until(() => service.log.length === 3);
  assert.deepEqual(
    service.log.map(({ code, client }) => [code, client]),
    [
      [undefined, undefined],
      [undefined, undefined],
      ['rate_limited', '127.0.0.1'],
    ],
  );
});

test('--rate-limit: every address counts but those of health', async (t) => {
  const service = await startService(t, { rateLimit: twoAnHour });
  assert.deepEqual(await statuses(service, 4, {}, '/health/live'), [200, 200, 200, 200]);
  assert.deepEqual(await statuses(service, 4, {}, '/health/ready'), [200, 200, 200, 200]);
  assert.deepEqual(await statuses(service, 1, {}, '/nowhere'), [404]);
  assert.deepEqual(await statuses(service, 1, {}, '/classify'), [405]);
  for (const path of ['/', '/models', '/metrics', '/nowhere', '/classify'])
    assert.deepEqual(await statuses(service, 1, {}, path), [429], path);
  assert.deepEqual(await statuses(service, 1, {}, '/health/ready'), [200]);
});

test('--rate-limit by key: each has its own, and those without a valid one share that of their address', async (t) => {
  const { apiKeyFile, key, adminKey } = await keyFile(t);
  const service = await startService(t, { apiKeyFile, rateLimit: twoAnHour });
  assert.deepEqual(await statuses(service, 3, { 'x-api-key': key }), [200, 200, 429]);
  assert.deepEqual(await statuses(service, 3, { 'x-api-key': adminKey }), [200, 200, 429]);
  const { body } = await service.http.get('/models').set({ 'x-api-key': key });
  assert.match(body.detail, / came from your key: /);
  assert.deepEqual(await statuses(service, 1, { 'x-api-key': makeKey('a', false).key }), [401]);
  assert.deepEqual(await statuses(service, 1), [401]);
  // Whoever guesses is slowed down, and learns no more than that.
  assert.deepEqual(await statuses(service, 1, { 'x-api-key': makeKey('a', false).key }), [429]);
});

test('--rate-limit: a key that is called like an address is another than that address', async (t) => {
  const { apiKeyFile, key } = await keyFile(t, { user: '127.0.0.1' });
  const service = await startService(t, { apiKeyFile, rateLimit: twoAnHour });
  assert.deepEqual(await statuses(service, 3), [401, 401, 429]);
  assert.deepEqual(await statuses(service, 3, { 'x-api-key': key }), [200, 200, 429]);
});

/** Two addresses are the same to the limit if the second request of one is the last that the other has. */
for (const [what, one, other, same] of [
  ['two IPv4 addresses', '192.0.2.1', '192.0.2.2', false],
  ['one IPv6 /64', '2001:db8:0:1::1', '2001:db8:0:1:ffff::2', true],
  ['two IPv6 /64s', '2001:db8:0:1::1', '2001:db8:0:2::1', false],
  ['an IPv4 address in two spellings', '192.0.2.1', '::ffff:192.0.2.1', true],
] as const) {
  test(`--rate-limit with --trust-proxy: ${what}`, async (t) => {
    const service = await startService(t, { rateLimit: twoAnHour, trustProxy: ['127.0.0.1'] });
    assert.deepEqual(await statuses(service, 2, { 'x-forwarded-for': one }), [200, 200]);
    assert.deepEqual(await statuses(service, 1, { 'x-forwarded-for': other }), [same ? 429 : 200]);
  });
}

test('X-Forwarded-For of a peer that is not trusted does nothing', async (t) => {
  for (const trustProxy of [undefined, ['10.0.0.0/8', 'fd00::/8', '127.0.0.2']]) {
    const service = await startService(t, { rateLimit: twoAnHour, trustProxy });
    const seen = [];
    for (const told of ['192.0.2.1', '192.0.2.2', '127.0.0.2', '10.0.0.1, 192.0.2.4'])
      seen.push(...(await statuses(service, 1, { 'x-forwarded-for': told })));
    assert.deepEqual(seen, [200, 200, 429, 429]);
    await until(() => service.log.length === 4);
    assert.equal(service.log.at(-1)?.client, '127.0.0.1');
  }
});

test('X-Forwarded-For of a trusted peer: the last address that is not trusted counts, whatever the client put before', async (t) => {
  const service = await startService(t, { rateLimit: twoAnHour, trustProxy: ['127.0.0.1/32', '10.0.0.0/8'] });
  const seen = [];
  for (const told of ['1.1.1.1, 192.0.2.9', '10.9.9.9, 192.0.2.9,10.1.2.3', '192.0.2.9', 'spoofed,  192.0.2.9'])
    seen.push(...(await statuses(service, 1, { 'x-forwarded-for': told })));
  assert.deepEqual(seen, [200, 200, 429, 429]);
  await until(() => service.log.length === 4);
  assert.equal(service.log.at(-1)?.client, '192.0.2.9');
  // What a trusted peer tells that is no address leaves the peer's own: it is one client, however it is spelt.
  const nonsense = [];
  for (const told of ['unknown', 'x'.repeat(4000), '"[::1]:80"'])
    nonsense.push(...(await statuses(service, 1, { 'x-forwarded-for': told })));
  assert.deepEqual(nonsense, [200, 200, 429]);
  await until(() => service.log.length === 7);
  assert.equal(service.log.at(-1)?.client, '127.0.0.1');
});

test('--rate-limit: of more clients than are counted, those are forgotten that came least recently', async (t) => {
  const app = Fastify({ trustProxy: ['127.0.0.1'] });
  t.after(() => app.close());
  app.decorateRequest('record');
  app.addHook('onRequest', (request, _reply, done) => {
    request.record = { startedAt: 0 };
    done();
  });
  const guardsOf = guards(app, await openAccess(parseConfig([], {}, 'serve')), twoAnHour, 3);
  app.get('/', { onRequest: guardsOf() }, () => 'in');
  const ask = async (address: string) =>
    (await app.inject({ url: '/', headers: { 'x-forwarded-for': address } })).statusCode;

  assert.deepEqual([await ask('192.0.2.1'), await ask('192.0.2.1')], [200, 200]);
  await ask('192.0.2.2');
  await ask('192.0.2.3');
  assert.notEqual(await ask('192.0.2.1'), 200);
  for (const address of ['192.0.2.2', '192.0.2.3', '192.0.2.4']) await ask(address);
  assert.equal(await ask('192.0.2.1'), 200);
});

test('--rate-limit: the body of a request that is refused is not waited for', async (t) => {
  const service = await startService(t, { rateLimit: twoAnHour });
  await statuses(service, 2);
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const client = request(`${service.url}/classify`, {
      method: 'POST',
      headers: { 'content-type': 'image/png', 'content-length': 1_000_000 },
    });
    client.on('response', (answer) => {
      resolve(answer.statusCode);
      client.destroy();
    });
    client.on('error', reject);
    client.flushHeaders();
  });
  assert.equal(status, 429);
});

test('--rate-limit and --trust-proxy: what is allowed', () => {
  const read = (...argv: string[]) => parseConfig(argv, {}, 'serve');
  assert.deepEqual(read('--rate-limit', '100/s').rateLimit, {
    max: 100,
    windowMs: 1000,
    text: '100 requests a second',
  });
  assert.equal(read('--rate-limit', '6000/m').rateLimit?.windowMs, 60_000);
  assert.equal(read('--rate-limit=1/h').rateLimit?.text, '1 request an hour');
  for (const refused of ['', '0/s', '100', '100/', '/s', '1.5/s', '-1/s', '100/d', '100 / s', '1e3/s', '1000000001/s'])
    assert.throws(() => read(`--rate-limit=${refused}`), { name: 'UsageError', message: /^--rate-limit: ".*100\/s/ });

  const networks = ['10.0.0.0/8', '192.0.2.7', '::1', 'fd00::/8', '127.0.0.1/32'];
  assert.deepEqual(read('--trust-proxy', networks.join(', ')).trustProxy, networks);
  for (const refused of [
    '',
    '1',
    'true',
    '*',
    'loopback',
    '0.0.0.0/0',
    '::/0',
    '10.0.0.0/33',
    '::1/129',
    '10.0.0.0/',
    '10/8',
  ])
    assert.throws(() => read(`--trust-proxy=${refused}`), { message: /Neither a number of proxies nor all addresses/ });
  for (const refused of [
    '10.0.0.0/255.0.0.0',
    '10.0.0.1,',
    'fe80::1%eth0',
    '10.0.0.0/8/8',
    '10.0.0.0/1e1',
    '10.0.0.0/+8',
  ])
    assert.throws(() => read(`--trust-proxy=${refused}`), { name: 'UsageError' }, refused);
});
