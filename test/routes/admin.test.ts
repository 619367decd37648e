import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { png, type Service, startService, until } from './service.js';

const red = await png('#e00000');
const adminToken = 'c2VjcmV0LQ==';
const asAdmin = { authorization: `Bearer ${adminToken}` };

function startAdmin(t: TestContext, options: { models?: string[]; load?: boolean } = {}): Promise<Service> {
  return startService(t, { adminToken }, options);
}

const post = ({ http }: Service, path: string) => http.post(path).set(asAdmin);

function stateOf({ registry }: Service, name = 'colours'): string {
  return registry.summary(name).state;
}

for (const verb of ['load', 'unload']) {
  test(`POST /models/:name/${verb} without a configured token: there is no such address, and GET / does not list it`, async (t) => {
    const { http } = await startService(t);
    const { status, body } = await http.post(`/models/colours/${verb}`).set(asAdmin);
    assert.equal(status, 404);
    assert.equal(body.code, 'not_found');
    const { endpoints } = (await http.get('/')).body as { endpoints: { path: string }[] };
    assert.deepEqual(
      endpoints.filter(({ path }) => path.endsWith('load')),
      [],
    );
  });

  test(`POST /models/:name/${verb} without the token, or with another: 401, and nothing happens`, async (t) => {
    const service = await startAdmin(t);
    const before = stateOf(service);
    for (const [authorization, challenge] of [
      [undefined, 'Bearer realm="vgg-serve"'],
      ['', 'Bearer realm="vgg-serve"'],
      [`Basic ${adminToken}`, 'Bearer realm="vgg-serve"'],
      [adminToken, 'Bearer realm="vgg-serve"'],
      ['Bearer', 'Bearer realm="vgg-serve"'],
      ['Bearer wrong', 'Bearer realm="vgg-serve", error="invalid_token"'],
      [`Bearer ${adminToken}=`, 'Bearer realm="vgg-serve", error="invalid_token"'],
      [`Bearer ${adminToken.slice(1)}`, 'Bearer realm="vgg-serve", error="invalid_token"'],
    ] as const) {
      const request = service.http.post(`/models/colours/${verb}?wait=false`);
      const { status, headers, body } = await (authorization === undefined ? request : request.set({ authorization }));
      assert.deepEqual([status, body.code], [401, 'unauthorized'], authorization);
      assert.match(headers['content-type'] ?? '', /^application\/problem\+json/);
      assert.equal(headers['www-authenticate'], challenge, authorization);
      assert.ok(!JSON.stringify(body).includes(adminToken));
    }
    assert.equal(stateOf(service), before);
  });

  test(`POST /models/:name/${verb} of a model that there is not`, async (t) => {
    const service = await startAdmin(t);
    const { status, body } = await post(service, `/models/nobody/${verb}`);
    assert.deepEqual([status, body.code], [404, 'unknown_model']);
    // Who has no token learns nothing.
    assert.equal((await service.http.post(`/models/nobody/${verb}`)).status, 401);
  });

  test(`POST /models/:name/${verb} with a parameter that it does not take`, async (t) => {
    const { status, body } = await post(await startAdmin(t), `/models/colours/${verb}?force=true`);
    assert.deepEqual([status, body.code], [400, 'unknown_query_parameter']);
  });

  test(`GET /models/:name/${verb}`, async (t) => {
    const { http } = await startAdmin(t);
    const { status, headers } = await http.get(`/models/colours/${verb}`).set(asAdmin);
    assert.deepEqual([status, headers.allow], [405, 'POST, OPTIONS']);
  });
}

test('the scheme of the token is read in any case', async (t) => {
  const { http } = await startAdmin(t);
  const { status } = await http.post('/models/colours/load').set({ authorization: `bearer ${adminToken}` });
  assert.equal(status, 200);
});

test('POST /models/:name/load answers once the model is ready, with what GET /models tells of it', async (t) => {
  const service = await startAdmin(t, { load: false });
  service.engine.holdStart();
  let answered = false;
  const answer = post(service, '/models/colours/load').then((response) => {
    answered = true;
    return response;
  });
  await service.engine.starting;
  assert.equal((await service.http.get('/health/live')).status, 200);
  assert.equal(answered, false);
  service.engine.release();
  const { status, body } = await answer;
  assert.equal(status, 200);
  assert.equal(body.state, 'ready');
  assert.deepEqual(body, (await service.http.get('/models')).body.models[0]);
});

test('POST /models/:name/load?wait=false answers 202 at once, and 200 when the model is ready already', async (t) => {
  const service = await startAdmin(t, { load: false });
  service.engine.holdStart();
  const { status, body } = await post(service, '/models/colours/load?wait=false');
  assert.deepEqual([status, body.state], [202, 'loading']);
  service.engine.release();
  await until(() => stateOf(service) === 'ready');
  assert.equal((await post(service, '/models/colours/load?wait=false')).status, 200);
});

test('POST /models/:name/load?wait=false of a load that fails leaves the reason to GET /models', async (t) => {
  const service = await startAdmin(t, { load: false });
  service.engine.failure = new Error('no memory left');
  assert.equal((await post(service, '/models/colours/load?wait=false')).status, 202);
  await until(() => stateOf(service) === 'failed');
  assert.equal((await service.http.get('/models')).body.models[0].reason, 'no memory left');
});

for (const wait of ['maybe', '', 'true&wait=false']) {
  test(`POST /models/:name/load?wait=${wait}`, async (t) => {
    const service = await startAdmin(t, { load: false });
    const { status, body } = await post(service, `/models/colours/load?wait=${wait}`);
    assert.deepEqual([status, body.code], [400, 'bad_request']);
    assert.equal(stateOf(service), 'unloaded');
  });
}

test('POST /models/:name/load of a load that fails: 503 with the reason; the next one may succeed', async (t) => {
  const service = await startAdmin(t, { models: ['colours', 'others'] });
  await service.registry.unload('others');
  service.engine.failure = new Error('no memory left');
  const { status, body } = await post(service, '/models/others/load');
  assert.deepEqual([status, body.code], [503, 'model_not_ready']);
  assert.equal(body.detail, 'others could not be loaded: no memory left');
  assert.equal(stateOf(service), 'ready');
  service.engine.failure = undefined;
  assert.equal((await post(service, '/models/others/load')).body.state, 'ready');
});

test('POST /models/:name/unload answers the pictures that wait first, then ends the engine', async (t) => {
  const service = await startAdmin(t);
  service.engine.hold();
  const classified = classify(service);
  await until(() => service.engine.batches.length === 1);
  const unloaded = post(service, '/models/colours/unload').then((response) => response);
  await until(() => stateOf(service) === 'unloaded');
  assert.equal(service.engine.closed, 0);
  assert.equal((await classify(service)).body.detail, 'colours is not loaded.');
  service.engine.release();
  assert.equal((await classified).status, 200);
  const { status, body } = await unloaded;
  assert.deepEqual([status, body.name, body.state, body.engine], [200, 'colours', 'unloaded', null]);
  assert.equal(service.engine.closed, 1);
});

test('POST /models/:name/unload while the model is being loaded: the load is given up, and its request told so', async (t) => {
  const service = await startAdmin(t, { load: false });
  service.engine.holdStart();
  const loaded = post(service, '/models/colours/load').then((response) => response);
  await service.engine.starting;
  assert.equal((await post(service, '/models/colours/unload')).status, 200);
  const { status, body } = await loaded;
  assert.deepEqual([status, body.code], [503, 'model_not_ready']);
  assert.equal(body.detail, 'colours was unloaded before it was ready.');
});

test('unloading and loading again: the model answers as before, and the log names it', async (t) => {
  const service = await startAdmin(t);
  await post(service, '/models/colours/unload');
  await post(service, '/models/colours/load');
  const { status, body } = await classify(service);
  assert.equal(status, 200);
  assert.equal(body.results[0].predictions[0].label, 'red');
  assert.deepEqual(
    service.log.map(({ route, model, status: seen }) => [route, model, seen]),
    [
      ['/models/:name/unload', 'colours', 200],
      ['/models/:name/load', 'colours', 200],
      ['/classify', 'colours', 200],
    ],
  );
});

async function classify({ http }: Service) {
  return await http.post('/classify?top_k=1').set('content-type', 'image/png').send(red);
}
