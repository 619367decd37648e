import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSession } from '../../src/engines/onnxruntime/session.js';

test('a session normalises every byte of every channel as torchvision does, to the last bit', async () => {
  const side = 16;
  const mean = [0.485, 0.456, 0.406] as const;
  const std = [0.229, 0.224, 0.225] as const;
  const session = await openSession({
    layers: [{ kind: 'flatten', name: 'flatten' }],
    inputSize: side,
    classes: 3 * side * side,
    mean,
    std,
    tensors: [],
    maxBatchSize: 1,
    threads: 1,
    prepack: false,
    precision: 'fp32',
  });
  const pixels = Uint8Array.from({ length: side * side * 3 }, (_, index) => index / 3);
  const { logits } = await session.run(pixels, 1);
  await session.close();

  // torchvision's convert_image_dtype and normalize: three float32 operations, each rounded.
  const { fround } = Math;
  const expected = mean.flatMap((channelMean, channel) =>
    Array.from({ length: 256 }, (_, byte) =>
      fround(fround(fround(byte / 255) - fround(channelMean)) / fround(std[channel] ?? Number.NaN)),
    ),
  );
  assert.deepEqual([...logits], expected);
});

test('a session computes in fp32 and in nothing else', async () => {
  await assert.rejects(
    openSession({
      ...{ layers: [{ kind: 'flatten', name: 'flatten' }], inputSize: 1, classes: 3, tensors: [], maxBatchSize: 1 },
      ...{ mean: [0, 0, 0], std: [1, 1, 1], threads: 1, prepack: false, precision: 'bf16' },
    }),
    { name: 'RangeError', message: 'onnxruntime computes in fp32 here, not in bf16.' },
  );
});
