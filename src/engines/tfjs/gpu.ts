import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Gpu } from '../engine.js';
import { killOnExit } from '../kill-on-exit.js';
import type { ProbeAnswer } from './gpu-probe.js';
import { tensorFlowPackage } from './tensorflow.js';

export interface GpuDevice extends Gpu {
  readonly name: string;
  readonly memoryMb: number;
  /** For example '8.6'. */
  readonly computeCapability: string;
}

/** Whether TensorFlow uses a GPU here, or the first reason found why it does not, with what to do. */
export type GpuFinding =
  | { readonly usable: true; readonly devices: readonly GpuDevice[] }
  | { readonly usable: false; readonly reason: string; readonly isInstalled: boolean };

/**
 * Loads TensorFlow in a process of its own and reads what it says: it falls to the CPU without an error. Seconds; at
 * once where the package is not installed.
 */
export async function findGpu(env: NodeJS.ProcessEnv = process.env): Promise<GpuFinding> {
  const probe = fileURLToPath(new URL('./gpu-probe.js', import.meta.url));
  // The names of the devices are information, which the level 1 leaves out.
  const options = {
    env: { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', ...env, TF_CPP_MIN_LOG_LEVEL: '0' },
    timeout: 300_000,
    maxBuffer: 2 ** 24,
  };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [probe], options, (error, stdout, stderr) => {
      resolve(understand(stdout, stderr, error?.message));
    });
    killOnExit(child);
  });
}

let found: Promise<GpuFinding> | undefined;

/** The finding of this process's life: a GPU does not come while a server runs. */
export function gpuHere(): Promise<GpuFinding> {
  found ??= isTensorFlowInstalled()
    ? findGpu()
    : Promise.resolve({ usable: false, reason: notInstalled, isInstalled: false });
  return found;
}

export function isTensorFlowInstalled(): boolean {
  try {
    createRequire(import.meta.url).resolve(tensorFlowPackage);
    return true;
  } catch {
    return false;
  }
}

const notInstalled = `${tensorFlowPackage} is not installed: docs/gpu.md says how`;

/** @param failure why the process itself did not end well */
function understand(stdout: string, stderr: string, failure: string | undefined): GpuFinding {
  let answer: ProbeAnswer | undefined;
  try {
    answer = JSON.parse(stdout) as ProbeAnswer;
  } catch {
    // It ended before it could answer; `failure` says how.
  }
  if (answer && 'isUsingGpu' in answer && answer.isUsingGpu) return { usable: true, devices: devicesIn(stderr) };
  const reason =
    (answer && 'error' in answer ? ofLoading(answer.error) : undefined) ??
    whyNoGpu(stderr) ??
    (answer ? noDeviceSeen : `TensorFlow ended while it looked for a GPU: ${failure?.trim() ?? 'no answer'}`);
  return { usable: false, reason, isInstalled: !reason.startsWith(notInstalled) };
}

function ofLoading(error: string): string {
  const library = /(lib[\w+.-]+\.so[\w.]*): cannot open shared object file/.exec(error)?.[1];
  if (error.includes('is not installed')) return notInstalled;
  if (library) return `the library ${library} of ${tensorFlowPackage} was not found: install the package anew`;
  if (error.includes('tfjs_binding.node')) {
    return `${tensorFlowPackage} has no addon, because its install script has not run: docs/gpu.md says how to run it`;
  }
  return error;
}

const noDeviceSeen = 'TensorFlow loads, but sees no GPU, and does not say why';

/** What TensorFlow 2.9 writes, in the order in which one hides the next, and what to do about it. */
const findings: readonly (readonly [pattern: RegExp, say: (...found: string[]) => string])[] = [
  [
    /Could not load dynamic library 'libcuda\.so\.1'/,
    () => 'the driver library libcuda.so.1 was not found: install the NVIDIA driver, or give it to the container',
  ],
  [
    /kernel driver does not appear to be running/,
    () => 'the NVIDIA kernel driver is not running: nvidia-smi must work on this host first',
  ],
  [
    /failed call to cuInit: (?:CUDA_ERROR_NO_DEVICE|UNKNOWN ERROR \(100\))/,
    () => 'the driver sees no device: look at CUDA_VISIBLE_DEVICES, and at --gpus of the container',
  ],
  [
    /CUDA_ERROR_DEVICE_UNAVAILABLE|all CUDA-capable devices are busy or unavailable|CUDA_ERROR_INVALID_DEVICE: .*exclusive/,
    () => 'the device is in use by another process (exclusive mode): nvidia-smi names it',
  ],
  [/failed call to cuInit: (.+)/, (what) => `the driver does not start: ${what}`],
  [
    /Could not load dynamic library '([^']+)'/,
    (library) =>
      `the library ${library} was not found: install it (CUDA 11, cuDNN 8), or put its folder into LD_LIBRARY_PATH`,
  ],
  [
    /Ignoring visible gpu device .*minimum required Cuda capability/,
    () => 'the device is older than TensorFlow 2.9 supports: it needs compute capability 3.5 or more',
  ],
];

function whyNoGpu(stderr: string): string | undefined {
  for (const [pattern, say] of findings) {
    const match = pattern.exec(stderr);
    if (match) return say(...match.slice(1));
  }
  return undefined;
}

function devicesIn(stderr: string): GpuDevice[] {
  const line =
    /device:GPU:\d+ with (\d+) MB memory:\s+-> device: (\d+), name: ([^,]+), .*?compute capability: ([\d.]+)/g;
  return [...stderr.matchAll(line)].map(([, memoryMb, index, name = '', computeCapability = '']) => ({
    index: Number(index),
    name,
    memoryMb: Number(memoryMb),
    computeCapability,
  }));
}
