import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chooseGpus, type EngineChoice } from '../../src/engines/choose.js';
import type { DeviceChoice } from '../../src/engines/device.js';
import type { GpuFinding } from '../../src/engines/tfjs/gpu.js';
import { buildNetwork } from '../../src/vgg/network.js';

const { layers } = buildNetwork({ cfg: [4, 'M'], batchNorm: false, pool: [1, 1], hidden: 4, classes: 2 });
const wanted = { layers, precision: 'fp32' } as const;
const two: GpuFinding = {
  usable: true,
  devices: [
    { index: 0, name: 'NVIDIA A10G', memoryMb: 20_700, computeCapability: '8.6' },
    { index: 1, name: 'Tesla T4', memoryMb: 13_816, computeCapability: '7.5' },
  ],
};
const none: GpuFinding = { usable: false, reason: 'the library libcudnn.so.8 was not found', isInstalled: true };

describe('chooseGpus()', () => {
  const rows: readonly [EngineChoice, DeviceChoice, GpuFinding, { engine: string; indices: number[] } | undefined][] = [
    ['auto', 'auto', two, { engine: 'tfjs', indices: [0] }],
    ['auto', 'auto', none, undefined],
    ['auto', 'cpu', two, undefined],
    ['auto', 'gpu', two, { engine: 'tfjs', indices: [0] }],
    ['auto', [1, 0], two, { engine: 'tfjs', indices: [1, 0] }],
    ['tfjs', 'auto', two, { engine: 'tfjs', indices: [0] }],
    ['tfjs', 'auto', none, undefined],
    ['tfjs', 'cpu', two, undefined],
    ['native', 'auto', two, undefined],
    ['onnxruntime', 'auto', two, undefined],
    ['onnxruntime', 'gpu', none, { engine: 'onnxruntime', indices: [0] }],
    ['onnxruntime', [0, 1], none, { engine: 'onnxruntime', indices: [0, 1] }],
  ];
  for (const [engine, device, finding, expected] of rows) {
    const seen = finding.usable ? 'two GPUs' : 'none';
    test(`--engine ${engine} --device ${device}, ${seen}: ${expected ? expected.engine : 'the CPU'}`, () => {
      const chosen = chooseGpus(engine, device, wanted, finding);
      assert.deepEqual(chosen && { engine: chosen.engine, indices: chosen.gpus.map(({ index }) => index) }, expected);
    });
  }

  test('what is known of the device goes along', () => {
    assert.equal(chooseGpus('auto', [1], wanted, two)?.gpus[0]?.name, 'Tesla T4');
  });

  const refusals: readonly [EngineChoice, DeviceChoice, GpuFinding, RegExp][] = [
    [
      'auto',
      'gpu',
      none,
      /^No GPU can be used: the library libcudnn\.so\.8 was not found\. Otherwise take --device cpu/,
    ],
    ['tfjs', [0], none, /^No GPU can be used: the library libcudnn/],
    ['auto', [0, 3], two, /^There is no GPU 3: TensorFlow sees 0 \(NVIDIA A10G\), 1 \(Tesla T4\)\.$/],
    ['native', 'gpu', two, /^The native engine runs on the CPU only/],
  ];
  for (const [engine, device, finding, message] of refusals) {
    test(`--engine ${engine} --device ${device}: refused, with the reason: ${message.source}`, () => {
      assert.throws(() => chooseGpus(engine, device, wanted, finding), { name: 'EngineChoiceError', message });
    });
  }

  test('another precision stays on the CPU, or is refused where a GPU was asked for', () => {
    const bf16 = { layers, precision: 'bf16' } as const;
    assert.equal(chooseGpus('auto', 'auto', bf16, two), undefined);
    assert.throws(
      () => chooseGpus('auto', 'gpu', bf16, two),
      /Precision bf16 is to be had from the native engine only/,
    );
  });
});
