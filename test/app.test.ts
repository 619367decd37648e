import assert from 'node:assert/strict';
import { once } from 'node:events';
import { METHODS } from 'node:http';
import { connect } from 'node:net';
import test from 'node:test';
import fastifyMultipart from '@fastify/multipart';
import Fastify, { errorCodes } from 'fastify';
import { frameworkErrors } from '../src/routes/problem.js';
import { png, startService, until } from './routes/service.js';

const red = await png('#e00000');

test('GET / lists every endpoint and the models', async (t) => {
  const { http, app } = await startService(t);
  const { body } = await http.get('/');
  assert.equal(body.name, 'vgg-serve');
  assert.match(body.version, /^\d+\.\d+\.\d+/);
  assert.deepEqual(body.models, [{ name: 'colours', state: 'ready' }]);
  assert.deepEqual(
    body.endpoints.map(({ method, path }: { method: string; path: string }) => `${method} ${path}`),
    [
      'GET /',
      'POST /classify',
      'GET /models',
      'GET /models/:name',
      'GET /metrics',
      'GET /health/live',
      'GET /health/ready',
    ],
  );
  for (const { method, path, summary } of body.endpoints) {
    assert.ok(app.hasRoute({ method, url: path }));
    assert.match(summary, /^[^\n]{10,120}$/);
  }
});

test('any method at any address: no 500, and a 405 with Allow where only the method is wrong', async (t) => {
  const { url } = await startService(t);
  const allowed: Record<string, string> = {
    '/classify': 'POST, OPTIONS',
    '/models': 'GET, HEAD, OPTIONS',
    '/models/colours': 'GET, HEAD, OPTIONS',
    '/health/live': 'GET, HEAD, OPTIONS',
    '/nowhere': '',
  };
  for (const [path, allow] of Object.entries(allowed)) {
    for (const method of METHODS.filter((name) => !['CONNECT', 'HEAD', 'TRACE'].includes(name))) {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      socket.end(`${method} ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`);
      const chunks: Buffer[] = [];
      for await (const chunk of socket) chunks.push(chunk);
      const answer = Buffer.concat(chunks).toString();
      const status = Number(answer.split(' ')[1]);
      assert.ok(status >= 200 && status < 500, `${method} ${path}: ${answer}`);
      if (status === 405) assert.match(answer, new RegExp(`^allow: ${allow}\r$`, 'm'));
      if (allow.includes(method)) assert.notEqual(status, 405, `${method} ${path}`);
      else if (['GET', 'PUT', 'PATCH', 'DELETE'].includes(method)) assert.equal(status, allow === '' ? 404 : 405);
    }
  }
});

test('OPTIONS tells what is allowed', async (t) => {
  const { http } = await startService(t);
  const { status, headers, text } = await http.options('/classify');
  assert.equal(status, 204);
  assert.equal(headers.allow, 'POST, OPTIONS');
  assert.equal(text, '');
});

test('HEAD answers as GET does, without the body', async (t) => {
  const { http } = await startService(t);
  for (const path of ['/', '/models', '/models/colours', '/health/ready', '/nowhere', '/classify']) {
    const [head, get] = [await http.head(path), await http.get(path)];
    assert.equal(head.status, get.status, path);
    assert.equal(head.headers['content-type'], get.headers['content-type']);
    assert.equal(head.text, undefined);
  }
});

test('a 405 leaves the body that came with the request alone', async (t) => {
  const { http } = await startService(t);
  for (const type of ['application/json', 'multipart/form-data; boundary=b', 'text/plain', 'image/png']) {
    const { status, body } = await http.post('/models').set('content-type', type).send(red);
    assert.equal(status, 405);
    assert.equal(body.code, 'method_not_allowed');
  }
});

test('a sane x-request-id is kept, another one is replaced', async (t) => {
  const { http, log } = await startService(t);
  const given = await http.get('/nowhere').set('x-request-id', 'abc-123');
  assert.equal(given.headers['x-request-id'], 'abc-123');
  assert.equal(given.body.request_id, 'abc-123');
  for (const bad of ['a b', '<script>', 'x'.repeat(129), '']) {
    const { headers } = await http.get('/health/live').set('x-request-id', bad);
    assert.match(headers['x-request-id'] ?? '', /^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  }
  await until(() => log.length === 5);
  assert.equal(log[0]?.request_id, 'abc-123');
});

test('each request is one log line, also where no route was found', async (t) => {
  const { http, log } = await startService(t);
  await http.get('/models/nobody');
  await http.get(`/nowhere?secret=${'x'.repeat(300)}`);
  await http.get('/%zz');
  await until(() => log.length === 3);
  assert.deepEqual(
    log.map(({ level, method, route, path, status, code, msg }) => ({ level, method, route, path, status, code, msg })),
    [
      {
        level: 30,
        method: 'GET',
        route: '/models/:name',
        path: undefined,
        status: 404,
        code: 'unknown_model',
        msg: 'request',
      },
      { level: 30, method: 'GET', route: undefined, path: '/nowhere', status: 404, code: 'not_found', msg: 'request' },
      { level: 30, method: 'GET', route: undefined, path: '/%zz', status: 400, code: 'bad_request', msg: 'request' },
    ],
  );
});

test("every error of Fastify's and its multipart plugin's that a client can cause is in the table", async (t) => {
  const app = Fastify().register(fastifyMultipart);
  t.after(() => app.close());
  await app.ready();
  const ownErrors = Object.values(errorCodes).map((Kind) => new Kind());
  const multipartErrors = Object.values(app.multipartErrors).map((Kind) => new Kind());
  const byClient = [...ownErrors, ...multipartErrors]
    .filter(({ statusCode }) => statusCode !== 500)
    .map(({ code }) => code)
    // Raised while the app is put together.
    .filter((code) => code !== 'FST_ERR_CTP_INSTANCE_ALREADY_STARTED');
  assert.ok(byClient.length > 15);
  for (const code of byClient) assert.ok(code in frameworkErrors, code);
  const known = [...ownErrors, ...multipartErrors].map(({ code }) => code);
  // The plugin does not export the class of this one.
  known.push('FST_INVALID_JSON_FIELD_ERROR');
  for (const code of Object.keys(frameworkErrors)) assert.ok(known.includes(code), code);
});

test('app.close() ends at once although a client holds a silent connection', async (t) => {
  const { app, url } = await startService(t);
  const silent = connect(Number(new URL(url).port), '127.0.0.1');
  await once(app.server, 'connection');
  const ended = once(silent, 'close');
  silent.resume();
  await app.close();
  await ended;
});

test('app.close() ends kept-alive connections, and the one of a request under way after its answer', async (t) => {
  const { app, url, engine } = await startService(t);
  const agentLike = await fetch(`${url}/health/live`);
  await agentLike.text();
  engine.hold();
  const underWay = fetch(`${url}/classify`, { method: 'POST', headers: { 'content-type': 'image/png' }, body: red });
  await until(() => engine.batches.length === 1);
  const closed = app.close();
  await until(() => !app.server.listening);
  engine.release();
  const response = await underWay;
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('connection'), 'close');
  await response.text();
  await closed;
});
