import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { readManifest } from '../../src/model-registry/manifest.js';
import { writeColourModel } from './colour-model.js';
import { png, startService } from './service.js';

test('an untrained model says so in its answers and in /models; a trained one does not answer the field', async (t) => {
  const { http, registry } = await startService(t);
  const dir = await mkdtemp(join(tmpdir(), 'vgg-serve-'));
  t.after(() => rm(dir, { recursive: true }));
  registry.add({
    ...(await readManifest(await writeColourModel(dir, 'colours'))),
    name: 'vgg11:none',
    weights: 'none (untrained, seed 0)',
    source: { kind: 'untrained', seed: 0 },
  });
  await registry.load('vgg11:none');

  const picture = await png('#00e000');
  const { body } = await http.post('/classify?model=vgg11:none').attach('image', picture, 'g.png');
  assert.deepEqual([body.model, body.weights, body.untrained], ['vgg11:none', 'none (untrained, seed 0)', true]);
  const trained = await http.post('/classify').attach('image', picture, 'g.png');
  assert.equal('untrained' in trained.body, false);

  const { models } = (await http.get('/models')).body;
  assert.deepEqual(
    models.map(({ name, untrained, file }: Record<string, unknown>) => [name, untrained, file]),
    [
      ['colours', false, 'colours.safetensors'],
      ['vgg11:none', true, null],
    ],
  );
  const described = await http.get('/models/vgg11:none');
  assert.deepEqual([described.status, described.body.untrained], [200, true]);
});
