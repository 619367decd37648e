import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import test from 'node:test';
import { makeKey } from '../../src/access/key-file.js';
import { keyFile } from '../access/keys.js';
import { png, startService, until } from './service.js';

const red = await png('#e00000');

const everyAddress = [
  ['POST', '/classify'],
  ['GET', '/models'],
  ['GET', '/models/colours'],
  ['GET', '/metrics'],
  ['GET', '/'],
  ['HEAD', '/'],
  ['DELETE', '/classify'],
  ['OPTIONS', '/classify'],
  ['GET', '/nowhere'],
  ['POST', '/models/colours/load'],
] as const;

for (const [method, path] of everyAddress) {
  test(`${method} ${path} with a file of keys: not without a key, and not with a wrong one`, async (t) => {
    const { apiKeyFile, key, adminKey } = await keyFile(t);
    const { url } = await startService(t, { apiKeyFile });
    const ask = async (headers: Record<string, string>) => {
      const answer = await fetch(`${url}${path}`, { method, headers });
      const { code } = method === 'HEAD' ? {} : ((await answer.json().catch(() => ({}))) as { code?: string });
      return { status: answer.status, code, challenge: answer.headers.get('www-authenticate') };
    };
    const code = method === 'HEAD' ? undefined : 'unauthorized';
    for (const headers of [{}, { authorization: '' }, { authorization: `Basic ${key}` }, { authorization: key }]) {
      assert.deepEqual(await ask(headers), { status: 401, code, challenge: 'Bearer realm="vgg-serve"' });
    }
    for (const headers of [
      { authorization: 'Bearer wrong' },
      { authorization: `Bearer ${key.slice(0, -1)}` },
      { 'x-api-key': `${key}x` },
      // The hash in the file is no key.
      { 'x-api-key': 'ada' },
    ]) {
      const challenge = 'Bearer realm="vgg-serve", error="invalid_token"';
      assert.deepEqual(await ask(headers), { status: 401, code, challenge });
    }
    for (const headers of [{ authorization: `Bearer ${adminKey}` }, { 'x-api-key': adminKey }])
      assert.doesNotMatch(String((await ask(headers)).status), /^40[13]$|^5/);
  });
}

test('health needs no key', async (t) => {
  const { apiKeyFile } = await keyFile(t);
  const { http } = await startService(t, { apiKeyFile });
  for (const path of ['/health/live', '/health/ready']) {
    assert.equal((await http.get(path)).status, 200);
    assert.equal((await http.get(path).set({ 'x-api-key': 'wrong' })).status, 200);
  }
});

test('X-API-Key goes before Authorization, where a proxy may have put its own', async (t) => {
  const { apiKeyFile, key } = await keyFile(t);
  const { http } = await startService(t, { apiKeyFile });
  const status = async (headers: Record<string, string>) => (await http.get('/models').set(headers)).status;
  assert.equal(await status({ authorization: 'Bearer of-the-proxy', 'x-api-key': key }), 200);
  assert.equal(await status({ authorization: `Bearer ${key}`, 'x-api-key': 'wrong' }), 401);
  assert.equal(await status({ authorization: `bearer ${key}`, 'x-api-key': '' }), 200);
});

test('a key that is no admin key on an admin address: 403, and nothing happens', async (t) => {
  const { apiKeyFile, key, adminKey } = await keyFile(t);
  const { http, registry } = await startService(t, { apiKeyFile });
  const unload = (given: string) => http.post('/models/colours/unload').set({ authorization: `Bearer ${given}` });
  const { status, body, headers } = await unload(key);
  assert.deepEqual([status, body.code], [403, 'forbidden']);
  assert.equal(body.detail, 'The key "ada" is no admin key, which is needed here.');
  assert.equal(headers['www-authenticate'], 'Bearer realm="vgg-serve", error="insufficient_scope"');
  assert.equal(registry.summary('colours').state, 'ready');
  assert.equal((await unload(adminKey)).body.state, 'unloaded');
});

test('the admin token beside a file of keys opens every address, and an admin key does without a token', async (t) => {
  const { apiKeyFile, adminKey } = await keyFile(t);
  const { http } = await startService(t, { apiKeyFile, adminToken: 'c2VjcmV0' });
  for (const given of ['c2VjcmV0', adminKey]) {
    const headers = { authorization: `Bearer ${given}` };
    assert.equal((await http.post('/models/colours/load').set(headers)).status, 200);
    assert.equal((await http.get('/models').set(headers)).status, 200);
  }
});

test('a file of keys without an admin key: the admin addresses are not there, for those who may ask', async (t) => {
  const { apiKeyFile, key } = await keyFile(t, { admin: null });
  const { http } = await startService(t, { apiKeyFile });
  const load = http.post('/models/colours/load');
  assert.deepEqual([(await load.set({ 'x-api-key': key })).status], [404]);
  assert.equal((await http.post('/models/colours/load')).status, 401);
  const { endpoints } = (await http.get('/').set({ 'x-api-key': key })).body as { endpoints: { path: string }[] };
  assert.ok(endpoints.length > 0);
  assert.ok(endpoints.every(({ path }) => !path.endsWith('load')));
});

test('keys that change while the server runs: the admin addresses come with the first admin key', async (t) => {
  const { apiKeyFile, key } = await keyFile(t, { admin: null });
  const { http, access } = await startService(t, { apiKeyFile });
  const load = async (given: string) => (await http.post('/models/colours/load').set({ 'x-api-key': given })).status;
  assert.equal(await load(key), 404);
  const other = makeKey('root', true);
  await writeFile(apiKeyFile, `${other.line}\n`);
  await access.rereadKeys?.();
  assert.deepEqual([await load(key), await load(other.key)], [401, 200]);
});

test('GET /metrics by --metrics-access', async (t) => {
  const { apiKeyFile, key, adminKey } = await keyFile(t);
  for (const [metricsAccess, seen] of [
    [undefined, [401, 200, 200]],
    ['open', [200, 200, 200]],
    ['key', [401, 200, 200]],
    ['admin', [401, 403, 200]],
  ] as const) {
    const { http } = await startService(t, { apiKeyFile, metricsAccess });
    const statuses = [];
    for (const given of ['', key, adminKey]) {
      statuses.push((await http.get('/metrics').set({ authorization: given && `Bearer ${given}` })).status);
    }
    assert.deepEqual(statuses, seen, metricsAccess);
  }
  const { http } = await startService(t, { metricsAccess: 'admin', adminToken: 'c2VjcmV0' });
  assert.equal((await http.get('/metrics')).status, 401);
  assert.equal((await http.get('/metrics').set({ authorization: 'Bearer c2VjcmV0' })).status, 200);
  assert.equal((await http.get('/models')).status, 200);
});

test('the log and the metrics have the name of the key; nothing has the key', async (t) => {
  const { apiKeyFile, key } = await keyFile(t);
  const service = await startService(t, { apiKeyFile });
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'image/png' };
  assert.equal((await service.http.post('/classify').set(headers).send(red)).status, 200);
  assert.equal((await service.http.post('/classify').set(headers).send('words')).status, 415);
  const wrong = 'vgs_wrong';
  await service.http.post(`/classify?key=${key}`).set({ 'x-api-key': wrong }).send(red);
  await service.http.get(`/nowhere?key=${key}`).set(headers);
  await until(() => service.log.length === 4);
  assert.deepEqual(
    service.log.map(({ key: name, status, client }) => [name, status, client]),
    [
      ['ada', 200, undefined],
      ['ada', 415, undefined],
      // Whoever is refused is known by the address alone.
      [undefined, 401, '127.0.0.1'],
      ['ada', 404, undefined],
    ],
  );
  const { text } = await service.http.get('/metrics').set(headers);
  assert.match(text, /^vgg_serve_requests_by_key_total\{key="ada"\} 3$/m);
  for (const seen of [JSON.stringify(service.log), text]) {
    assert.ok(!seen.includes(key));
    assert.ok(!seen.includes(wrong));
  }
});

test('without a valid key the body is not waited for', async (t) => {
  const { apiKeyFile } = await keyFile(t);
  const { url } = await startService(t, { apiKeyFile });
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write('POST /classify HTTP/1.1\r\nhost: a\r\ncontent-type: image/png\r\ncontent-length: 1000000\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 401 /);
});
