import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { test } from 'node:test';
import { greeting } from '../../src/cli/serve.js';
import type { ModelSummary } from '../../src/model-registry/description.js';
import { categories, likeliest, run, smallPictures, start, temporaryDir, writeSmallModel } from './command.js';

test('vgg-serve without a verb: logs JSON, answers a request, and ends with 0 on SIGTERM', async (t) => {
  const model = await writeSmallModel(await temporaryDir(t));
  const [picture] = await smallPictures();
  assert.ok(picture);
  const child = start(['--model', model], { PORT: '0' });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'close');

  let url = '';
  for await (const line of createInterface(child.stdout as Readable)) {
    const { msg } = JSON.parse(line);
    url ||= /http:\/\/127\.0\.0\.1:\d+/.exec(msg)?.[0] ?? '';
    if (msg === 'model ready') break;
  }
  child.stdout?.resume();

  const body = new Uint8Array(picture.png);
  const answer = await fetch(`${url}/classify?top_k=1`, {
    method: 'POST',
    headers: { 'content-type': 'image/png' },
    body,
  });
  assert.equal(answer.status, 200);
  const { results } = (await answer.json()) as { results: { predictions: { label: string }[] }[] };
  assert.equal(results[0]?.predictions[0]?.label, categories[likeliest(picture.logits).index]);

  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
});

test('vgg-serve serve on a port that is taken: ends with 1 and says so', async (t) => {
  const model = await writeSmallModel(await temporaryDir(t));
  const other = createServer().listen(0, '127.0.0.1');
  t.after(() => other.close());
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const { code, stderr } = await run(['serve', '--model', model, '--port', String(port)]);
  assert.match(stderr, new RegExp(`^vgg-serve: cannot listen on 127\\.0\\.0\\.1:${port}: .*--port\\.\n$`));
  assert.equal(code, 1);
});

test('vgg-serve serve with two models of one name: ends with 2 and says so in one line', async (t) => {
  const model = await writeSmallModel(await temporaryDir(t));
  const { code, stdout, stderr } = await run(['serve', '--port', '0', '--model', model, '--model', model]);
  assert.match(stderr, /^vgg-serve: two models are called small: [^\n]*\n$/);
  assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
});

test('vgg-serve serve with an admin token that cannot be one: ends with 2 and does not show it', async (t) => {
  const model = await writeSmallModel(await temporaryDir(t));
  const env = { VGG_SERVE_ADMIN_TOKEN: 'open sesame' };
  const { code, stderr } = await run(['serve', '--port', '0', '--model', model], env);
  assert.match(stderr, /^vgg-serve: VGG_SERVE_ADMIN_TOKEN holds no token: (?!.*sesame).*\n$/);
  assert.equal(code, 2);
});

const ready = {
  name: 'small',
  weights: 'SMALL_A',
  precision: 'fp32',
  state: 'ready',
  reason: null,
  classes: 10,
  input_size: 224,
} as ModelSummary;

test('greeting with a model that is ready: the address, the model, and a command to try', () => {
  const lines = greeting('http://127.0.0.1:8080', [ready], 'samples/bag.png').split('\n');
  assert.deepEqual(lines, [
    '',
    'vgg-serve answers on http://127.0.0.1:8080',
    '  small: SMALL_A, 10 classes, 224 x 224 pixels',
    '',
    '  curl -F "image=@samples/bag.png" http://127.0.0.1:8080/classify',
    '',
    '',
  ]);
});

test('greeting of a server that asks for keys: the command bears one', () => {
  const text = greeting('https://127.0.0.1:8443', [ready], 'bag.png', true);
  assert.match(text, /\n {2}curl -H "X-API-Key: KEY" -F "image=@bag\.png" https:\/\/127\.0\.0\.1:8443\/classify\n/);
});

test('greeting with a model of another precision: which', () => {
  const text = greeting('http://127.0.0.1:8080', [{ ...ready, name: 'small@bf16', precision: 'bf16' }], 'bag.png');
  assert.match(text, /\n {2}small@bf16: SMALL_A, 10 classes, 224 x 224 pixels, bf16\n/);
});

test('greeting with a model that failed: its reason, and no command', () => {
  const failed = { ...ready, state: 'failed', reason: 'small_a.pth: there is no such file' } as ModelSummary;
  const text = greeting('http://127.0.0.1:8080', [failed], 'picture.jpg');
  assert.match(text, /\n {2}small: failed: small_a\.pth: there is no such file\n/);
  assert.doesNotMatch(text, /curl/);
});
