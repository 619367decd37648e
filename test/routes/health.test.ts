import assert from 'node:assert/strict';
import test from 'node:test';
import { startService } from './service.js';

test('GET /health/live answers before a model is loaded', async (t) => {
  const { http } = await startService(t, {}, { load: false });
  const { status, body } = await http.get('/health/live');
  assert.equal(status, 200);
  assert.deepEqual(body, { live: true });
});

test('GET /health/ready once every model is ready', async (t) => {
  const { http } = await startService(t, {}, { models: ['colours', 'others'] });
  const { status, body } = await http.get('/health/ready');
  assert.equal(status, 200);
  assert.deepEqual(body, {
    ready: true,
    models: [
      { name: 'colours', state: 'ready', reason: null },
      { name: 'others', state: 'ready', reason: null },
    ],
  });
});

test('GET /health/ready while one of two models is not loaded names it', async (t) => {
  const { http, registry } = await startService(t, {}, { models: ['colours', 'others'], load: false });
  await registry.load('colours');
  const { status, headers, body } = await http.get('/health/ready');
  assert.equal(status, 503);
  assert.equal(headers['retry-after'], '1');
  assert.equal(body.code, 'model_not_ready');
  assert.equal(body.detail, 'others is unloaded');
  assert.equal(body.ready, false);
  assert.deepEqual(body.models[1], { name: 'others', state: 'unloaded', reason: null });
});

test('GET /health/ready after a load that failed gives the reason', async (t) => {
  const { http, registry, engine } = await startService(t, {}, { load: false });
  engine.failure = new Error('no memory left');
  await assert.rejects(registry.load('colours'));
  const { status, body } = await http.get('/health/ready');
  assert.equal(status, 503);
  assert.equal(body.detail, 'colours is failed: no memory left');
  assert.deepEqual(body.models, [{ name: 'colours', state: 'failed', reason: 'no memory left' }]);
});
