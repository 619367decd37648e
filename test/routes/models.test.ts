import assert from 'node:assert/strict';
import test from 'node:test';
import { categories } from './colour-model.js';
import { startService } from './service.js';

test('GET /models lists every model in the order of the options', async (t) => {
  const { http } = await startService(t, {}, { models: ['colours', 'others'] });
  const { status, body } = await http.get('/models');
  assert.equal(status, 200);
  assert.deepEqual(
    body.models.map(({ name }: { name: string }) => name),
    ['colours', 'others'],
  );
  const [{ state, classes, input_size, engine, device, precision, num_params }] = body.models;
  assert.deepEqual(
    { state, classes, input_size, engine, device, precision, num_params },
    {
      state: 'ready',
      classes: 3,
      input_size: 8,
      engine: 'onnxruntime',
      device: 'cpu',
      precision: 'fp32',
      num_params: 4 * 27 + 4 + 2 * (4 * 4 + 4) + 3 * 4 + 3,
    },
  );
});

test('GET /models/:name tells categories, layers and the printed network', async (t) => {
  const { http } = await startService(t);
  const { status, body } = await http.get('/models/colours');
  assert.equal(status, 200);
  assert.deepEqual(body.categories, categories);
  assert.match(body.printed, /^VGG\(/);
  assert.ok(body.layers.length > 5);
});

test('GET /models/:name of a model that there is not', async (t) => {
  const { http } = await startService(t);
  for (const name of ['nobody', '__proto__', 'constructor', 'a%2Fb']) {
    const { status, body } = await http.get(`/models/${name}`);
    assert.equal(status, 404);
    assert.equal(body.code, 'unknown_model');
  }
  // Longer than the router takes for a name.
  assert.equal((await http.get(`/models/${'x'.repeat(1000)}`)).status, 404);
});
