import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { findGpu } from '../../src/engines/tfjs/gpu.js';
import { tensorFlowPackage } from '../../src/engines/tfjs/tensorflow.js';

const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-gpu-'));
after(() => rmSync(folder, { recursive: true }));
let packages = 0;

/** What findGpu() finds of a package that stands in for the real one: of what TensorFlow would write, and its backend. */
function findingOf({ stderr = '', isUsingGpu = false, code = '' }): ReturnType<typeof findGpu> {
  const modules = join(folder, String(packages++));
  const home = join(modules, tensorFlowPackage);
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, 'package.json'), JSON.stringify({ name: tensorFlowPackage, main: 'index.js' }));
  const backend = `exports.backend = () => ({ isGPUPackage: true, isUsingGpuDevice: ${isUsingGpu} });`;
  writeFileSync(join(home, 'index.js'), `process.stderr.write(${JSON.stringify(stderr)});\n${code}\n${backend}`);
  return findGpu({ ...process.env, NODE_PATH: modules });
}

// The lines are those of TensorFlow 2.9's sources: dso_loader.cc, cuda_diagnostics.cc, cuda_driver.cc, gpu_device.cc.
const missingLibrary = (name: string) =>
  `W tensorflow/stream_executor/platform/default/dso_loader.cc:64] Could not load dynamic library '${name}'; dlerror: ${name}: cannot open shared object file: No such file or directory\n`;
const cuInit = (what: string) =>
  `E tensorflow/stream_executor/cuda/cuda_driver.cc:271] failed call to cuInit: ${what}\n`;

const reasons: readonly [what: string, given: Parameters<typeof findingOf>[0], reason: RegExp][] = [
  [
    'no driver',
    { stderr: missingLibrary('libcuda.so.1') + missingLibrary('libcudart.so.11.0') },
    /^the driver library libcuda\.so\.1 was not found: install the NVIDIA driver/,
  ],
  [
    'no kernel driver',
    {
      stderr: `${cuInit('UNKNOWN ERROR (34)')}I tensorflow/stream_executor/cuda/cuda_diagnostics.cc:156] kernel driver does not appear to be running on this host (node): /proc/driver/nvidia/version does not exist\n`,
    },
    /^the NVIDIA kernel driver is not running: nvidia-smi/,
  ],
  [
    'no device',
    { stderr: cuInit('CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected') },
    /^the driver sees no device: look at CUDA_VISIBLE_DEVICES/,
  ],
  [
    'a device in use',
    {
      stderr:
        'E tensorflow/core/common_runtime/session.cc:91] Failed to create session: INTERNAL: CUDA runtime implicit initialization on GPU:0 failed. Status: all CUDA-capable devices are busy or unavailable\n',
    },
    /^the device is in use by another process/,
  ],
  [
    'a driver that is too old',
    {
      stderr: cuInit(
        'CUDA_ERROR_SYSTEM_DRIVER_MISMATCH: system has unsupported display driver / cuda driver combination',
      ),
    },
    /^the driver does not start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH/,
  ],
  [
    'no cuDNN',
    { stderr: missingLibrary('libcudnn.so.8') },
    /^the library libcudnn\.so\.8 was not found: install it \(CUDA 11, cuDNN 8\)/,
  ],
  ['no CUDA library', { stderr: missingLibrary('libcublas.so.11') }, /^the library libcublas\.so\.11 was not found/],
  [
    'an old device',
    {
      stderr:
        'I tensorflow/core/common_runtime/gpu/gpu_device.cc:1850] Ignoring visible gpu device (device: 0, name: Tesla K10, pci bus id: 0000:06:00.0, compute capability: 3.0) with Cuda compute capability 3.0. The minimum required Cuda capability is 3.5.\n',
    },
    /^the device is older than TensorFlow 2\.9 supports/,
  ],
  ['nothing said', {}, /^TensorFlow loads, but sees no GPU/],
  [
    'no addon',
    {
      code: "throw new Error('The Node.js native addon module (tfjs_binding.node) can not be found at path: /nowhere');",
    },
    /^@tensorflow\/tfjs-node-gpu has no addon, because its install script has not run/,
  ],
  [
    'no libtensorflow',
    { code: "throw new Error('libtensorflow.so.2: cannot open shared object file: No such file or directory');" },
    /^the library libtensorflow\.so\.2 of @tensorflow\/tfjs-node-gpu was not found/,
  ],
  [
    'another failure to load',
    { code: "throw new Error('wrong ELF class');" },
    /^@tensorflow\/tfjs-node-gpu does not load: wrong ELF class/,
  ],
  [
    'a crash',
    { code: "process.kill(process.pid, 'SIGKILL'); while (true) {}" },
    /^TensorFlow ended while it looked for a GPU/,
  ],
];

for (const [what, given, reason] of reasons) {
  test(`findGpu: ${what}`, async () => {
    const finding = await findingOf(given);
    assert.ok(!finding.usable);
    assert.match(finding.reason, reason);
    assert.ok(finding.isInstalled);
  });
}

test('findGpu: the package is not installed', async () => {
  const finding = await findGpu({ ...process.env, NODE_PATH: '' });
  assert.ok(!finding.usable);
  assert.match(finding.reason, /^@tensorflow\/tfjs-node-gpu is not installed: docs\/gpu\.md/);
  assert.ok(!finding.isInstalled);
});

test('findGpu: two devices, by name and memory', async () => {
  const device = (index: number, name: string, memory: number, capability: string) =>
    `I tensorflow/core/common_runtime/gpu/gpu_device.cc:1532] Created device /job:localhost/replica:0/task:0/device:GPU:${index} with ${memory} MB memory:  -> device: ${index}, name: ${name}, pci bus id: 0000:0${index}:00.0, compute capability: ${capability}\n`;
  const stderr = device(0, 'NVIDIA A10G', 20_700, '8.6') + device(1, 'Tesla T4', 13_816, '7.5');
  assert.deepEqual(await findingOf({ stderr, isUsingGpu: true }), {
    usable: true,
    devices: [
      { index: 0, name: 'NVIDIA A10G', memoryMb: 20_700, computeCapability: '8.6' },
      { index: 1, name: 'Tesla T4', memoryMb: 13_816, computeCapability: '7.5' },
    ],
  });
});
