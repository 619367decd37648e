import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usefulThreads } from '../../src/engines/threads.js';
import { builderOptions, buildNetwork } from '../../src/vgg/network.js';

const vgg16 = buildNetwork(builderOptions('vgg16')); // 15,470 M multiply-adds at 224 x 224, 1,253 M of convolutions at 64 x 64

test('usefulThreads of a large network are all that it may have', () => {
  assert.equal(usefulThreads(vgg16, 224, 1), 1);
  assert.equal(usefulThreads(vgg16, 224, 64), 64);
});

test('usefulThreads of a small network are fewer, and at least one', () => {
  const small = buildNetwork({
    cfg: [32, 32, 'M', 64, 64, 'M', 128, 128, 'M'],
    batchNorm: true,
    pool: [2, 2],
    hidden: 256,
    classes: 10,
  });
  assert.equal(usefulThreads(small, 32, 8), 1); // 39 M
  assert.equal(usefulThreads(small, 96, 8), 3); // 347 M
  assert.equal(usefulThreads(small, 96, 2), 2);
});

test('usefulThreads leaves a number that cannot be to the engine, which refuses it', () => {
  assert.equal(usefulThreads(vgg16, 224, 0), 0);
});
