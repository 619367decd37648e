import assert from 'node:assert/strict';
import test from 'node:test';
import { png, startService } from './service.js';

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
      { name: 'colours', state: 'ready', reason: null, progress: null },
      { name: 'others', state: 'ready', reason: null, progress: null },
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
  assert.deepEqual(body.models[1], { name: 'others', state: 'unloaded', reason: null, progress: null });
});

test('GET /health/ready after a load that failed gives the reason', async (t) => {
  const { http, registry, engine } = await startService(t, {}, { load: false });
  engine.failure = new Error('no memory left');
  await assert.rejects(registry.load('colours'));
  const { status, body } = await http.get('/health/ready');
  assert.equal(status, 503);
  assert.equal(body.detail, 'colours is failed: no memory left');
  assert.deepEqual(body.models, [{ name: 'colours', state: 'failed', reason: 'no memory left', progress: null }]);
});

test('GET /health/ready after a load that failed beside a model that is ready, which still answers', async (t) => {
  const { http, registry, engine } = await startService(t, {}, { models: ['colours', 'others'], load: false });
  await registry.load('others');
  engine.failure = new Error('no memory left');
  await assert.rejects(registry.load('colours'));
  engine.failure = undefined;
  const { status, body } = await http.get('/health/ready');
  assert.equal(status, 503);
  assert.equal(body.detail, 'colours is failed: no memory left');
  const red = await png('#e00000');
  const answer = await http.post('/classify?model=others&top_k=1').set('content-type', 'image/png').send(red);
  assert.equal(answer.status, 200);
  assert.equal(answer.body.results[0].predictions[0].label, 'red');
  const refused = await http.post('/classify').set('content-type', 'image/png').send(red);
  assert.equal(refused.body.detail, 'colours could not be loaded: no memory left');
});

test('GET /health/ready while a model is being loaded tells the step', async (t) => {
  const { http, registry, engine } = await startService(t, {}, { load: false });
  engine.holdStart();
  const loading = registry.load('colours');
  await engine.starting;
  const { status, body } = await http.get('/health/ready');
  assert.equal(status, 503);
  assert.equal(body.detail, 'colours is loading: starting');
  const progress = { step: 'starting', received_bytes: null, total_bytes: null };
  assert.deepEqual(body.models, [{ name: 'colours', state: 'loading', reason: null, progress }]);
  assert.deepEqual((await http.get('/models')).body.models[0].progress, progress);
  engine.release();
  await loading;
  assert.equal((await http.get('/health/ready')).status, 200);
});

test('GET /health/ready while weights are fetched tells how far', async (t) => {
  let began = () => {};
  const begun = new Promise<void>((resolve) => {
    began = resolve;
  });
  const { http, registry } = await startService(
    t,
    {},
    {
      load: false,
      async fetchWeights(_entry, { signal, report }) {
        report({ step: 'fetching', receivedBytes: 63.4e6, totalBytes: 553.43e6 });
        began();
        return await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      },
    },
  );
  const loading = assert.rejects(registry.load('colours'), { code: 'shutting_down' });
  await begun;
  const { status, body } = await http.get('/health/ready');
  assert.equal(status, 503);
  assert.equal(body.detail, 'colours is loading: fetching, 63.4 of 553.4 MB');
  assert.deepEqual(body.models[0].progress, { step: 'fetching', received_bytes: 63.4e6, total_bytes: 553.43e6 });
  await registry.close();
  await loading;
});

test('GET /health/ready after one of two models was unloaded on request', async (t) => {
  const { http, registry } = await startService(t, {}, { models: ['colours', 'others'] });
  await registry.unload('others');
  const { status, body } = await http.get('/health/ready');
  assert.equal(status, 200);
  assert.deepEqual(
    body.models.map(({ state }: { state: string }) => state),
    ['ready', 'unloaded'],
  );
});

test('GET /health/ready while the engine is being started again says why, live does not mind, and pictures wait', async (t) => {
  const { http, engine } = await startService(t);
  engine.change({ state: 'down', reason: 'killed by SIGKILL', attempt: 3 });
  const { status, body } = await http.get('/health/ready');
  assert.equal(status, 503);
  assert.equal(body.code, 'model_not_ready');
  assert.equal(body.detail, 'colours has no engine: killed by SIGKILL; starting again, attempt 3');
  const reason = 'no engine: killed by SIGKILL; starting again, attempt 3';
  assert.deepEqual(body.models, [{ name: 'colours', state: 'ready', reason, progress: null }]);
  assert.equal((await http.get('/health/live')).status, 200);
  const red = await png('#e00000');
  const answer = http.post('/classify?top_k=1').set('content-type', 'image/png').send(red).then();
  while (!/queue_depth\{model="colours"\} 1/.test((await http.get('/metrics')).text)) {}
  assert.deepEqual(engine.batches, []);
  engine.change({ state: 'up' });
  assert.equal((await answer).status, 200);
  assert.equal((await http.get('/health/ready')).status, 200);
});

test('a picture that waits for an engine beyond its deadline has 504', async (t) => {
  const { http, engine } = await startService(t, { timeoutMs: 50 });
  engine.change({ state: 'down', reason: 'killed by SIGKILL', attempt: 1 });
  const answer = await http
    .post('/classify')
    .set('content-type', 'image/png')
    .send(await png('#e00000'));
  assert.equal(answer.status, 504);
  assert.equal(answer.body.code, 'deadline_exceeded');
  assert.deepEqual(engine.batches, []);
});

test('GET /health/ready after the engine has given up says so, and so does /classify', async (t) => {
  const { http, engine } = await startService(t);
  engine.change({ state: 'failed', reason: 'it was lost 5 times in a row', mayRecover: true });
  const { status, body } = await http.get('/health/ready');
  assert.equal(status, 503);
  assert.equal(body.detail, 'colours is failed: its engine has given up: it was lost 5 times in a row');
  const answer = await http
    .post('/classify')
    .set('content-type', 'image/png')
    .send(await png('#e00000'));
  assert.equal(answer.status, 503);
  assert.equal(answer.body.code, 'model_not_ready');
  assert.equal(engine.closed, 1);
  const metrics = (await http.get('/metrics')).text;
  assert.match(metrics, /^vgg_serve_model_state\{model="colours",state="failed"\} 1$/m);
});
