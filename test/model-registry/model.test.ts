import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BatchLimits } from '../../src/batching/policy.js';
import { Model } from '../../src/model-registry/model.js';
import { buildNetwork } from '../../src/vgg/network.js';
import { PixelSums, pixelSums } from './pixel-sums.js';

const pictureBytes = 4 * 4 * 3;

function tinyModel(limits: Partial<BatchLimits> = {}) {
  const network = buildNetwork({ cfg: [2, 'M'], batchNorm: false, pool: [1, 1], hidden: 3, classes: 4 });
  const manifest = {
    name: 'tiny',
    weights: 'TINY_V1',
    source: { kind: 'file', path: '/models/tiny.pth' },
    network,
    transforms: { resize: 6, crop: 4, mean: [0, 0, 0], std: [1, 1, 1] },
    categories: ['red', 'green', 'blue', 'first'],
    meta: {},
  } as const;
  const engine = new PixelSums({
    ...{ layers: network.layers, inputSize: 4, classes: 4, tensors: [], maxBatchSize: 4, threads: 1, prepack: false },
    ...{ mean: [0, 0, 0], std: [1, 1, 1], precision: 'fp32' },
  });
  const events: string[] = [];
  const model = new Model(
    { manifest, network, sha256: 'ab', engine },
    { maxBatchSize: 4, maxWaitMs: 0, maxQueue: 64, ...limits },
    {
      stateChanged: (name, state) => events.push(`${name} ${state}`),
      loadProgress: (name, { step }) => events.push(`${name} ${step}`),
      loaded: (name) => events.push(`${name} loaded`),
      queueDepth: (name, pictures) => events.push(`${name} depth ${pictures}`),
      queueWait: (name, waitMs) => events.push(`${name} waited ${typeof waitMs}`),
      batch: (name, { size, computeMs }) => events.push(`${name} batch ${size} ${computeMs} ms`),
    },
  );
  return { model, engine, events };
}

function picture(seed: number): Uint8Array {
  return Uint8Array.from({ length: pictureBytes }, (_, i) => (seed * 37 + i * 11) % 256);
}

test('classify of many pictures at once answers each with its own logits', async () => {
  const { model, engine } = tinyModel();
  const pictures = Array.from({ length: 11 }, (_, i) => picture(i));
  const answers = await Promise.all(pictures.map((pixels) => model.classify(pixels)));
  assert.deepEqual(
    answers.map(({ logits }) => [...logits]),
    pictures.map(pixelSums),
  );
  assert.deepEqual(engine.batchSizes, [4, 4, 3]);
});

test('classify says the size of the batch, the time in the engine and the time in the queue', async () => {
  const { model } = tinyModel();
  const [first] = await Promise.all([model.classify(picture(1)), model.classify(picture(2))]);
  assert.equal(first.batchSize, 2);
  assert.equal(first.computeMs, 2.5);
  assert.equal(typeof first.queueMs, 'number');
});

test('the logits of one answer hold no other memory than their own', async () => {
  const { model } = tinyModel();
  const answers = await Promise.all([model.classify(picture(1)), model.classify(picture(2))]);
  for (const { logits } of answers) assert.equal(logits.buffer.byteLength, 4 * 4);
});

test('classify of a picture of another size is refused and reaches no batch', async () => {
  const { model, engine } = tinyModel();
  await assert.rejects(model.classify(new Uint8Array(pictureBytes - 1)), {
    name: 'RangeError',
    message: 'tiny takes 4 x 4 x 3 bytes of pixels, not 47.',
  });
  assert.deepEqual(engine.batchSizes, []);
});

test('classify passes the signal and the deadline on', async () => {
  const { model } = tinyModel();
  await assert.rejects(model.classify(picture(1), { signal: AbortSignal.abort() }), { code: 'client_closed_request' });
  await assert.rejects(model.classify(picture(1), { deadlineAt: performance.now() }), { code: 'deadline_exceeded' });
});

test('the observer of a model sees queue and batches, under its name', async () => {
  const { model, events } = tinyModel();
  await Promise.all([model.classify(picture(1)), model.classify(picture(2))]);
  await assert.rejects(model.classify(picture(3), { signal: AbortSignal.abort() }));
  assert.deepEqual(events, [
    'tiny depth 1',
    'tiny depth 2',
    'tiny waited number',
    'tiny waited number',
    'tiny depth 0',
    'tiny batch 2 2.5 ms',
  ]);
});

test('admit: pictures on their way count as waiting, and the number of pictures is judged when it is known', async (t) => {
  let now = 1000;
  t.mock.method(performance, 'now', () => now);
  const { model, engine } = tinyModel({ maxBatchSize: 1, maxQueue: 4 });
  const { run } = engine;
  engine.run = (...batch) => {
    now += 100;
    return run.apply(engine, batch);
  };
  model.admit(now + 1).end(); // Nothing is known yet.
  await model.classify(picture(1));
  assert.equal(model.predictMs(), 100);

  const first = model.admit(now + 250);
  assert.equal(model.predictMs(), 200, 'its body is still to come');
  assert.throws(() => model.admit(now + 199), { code: 'overloaded', members: { eta_ms: 200 } });
  const second = model.admit(now + 250);
  assert.throws(() => first.expect(3), { code: 'overloaded', members: { eta_ms: 300 } });
  first.end();
  second.expect(2);
  assert.equal(model.predictMs(), 300);
  second.arrived();
  assert.equal(model.predictMs(), 200, 'one has come to the queue, or never will');
  second.end();
  assert.equal(model.predictMs(), 100);

  const many = Array.from({ length: 5 }, () => model.admit(now + 10_000)); // one for the engine, four to wait
  assert.throws(() => model.admit(now + 10_000), { code: 'queue_full', retryAfterSeconds: 1 });
  for (const arrival of many) arrival.end();
  model.admit(now + 10_000).end();
});

test('close answers what waits before the engine ends, and refuses new pictures', async () => {
  const { model, engine } = tinyModel({ maxBatchSize: 1 });
  const answers = [model.classify(picture(1)), model.classify(picture(2))];
  const closing = model.close();
  await assert.rejects(model.classify(picture(3)), { code: 'shutting_down' });
  await closing;
  assert.equal(engine.closed, true);
  assert.deepEqual(
    (await Promise.all(answers)).map(({ logits }) => [...logits]),
    [pixelSums(picture(1)), pixelSums(picture(2))],
  );
});
