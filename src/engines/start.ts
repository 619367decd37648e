import { chooseGpus } from './choose.js';
import type { DeviceChoice } from './device.js';
import type { Engine, EngineSpec, Gpu } from './engine.js';
import { EnginePool } from './pool.js';
import { type EngineProcessOptions, startEngine } from './process.js';
import { gpuHere } from './tfjs/gpu.js';

export interface StartOptions extends Omit<EngineProcessOptions, 'retryMs'> {
  /** After how long an engine beside others that has given up tries again. @default never */
  readonly retryMs?: number | undefined;
  /** @default 'auto' */
  readonly device?: DeviceChoice;
  /** Rounds the factors of products on a GPU to 10 bits: faster, and less exact. @default false */
  readonly allowTf32?: boolean;
}

/**
 * Starts a network where it is to run: in one process on the CPU or a GPU, or in one on each of several GPUs.
 * @throws EngineChoiceError for a GPU that cannot be used, and all that startEngine throws
 */
export async function startOnDevice(spec: EngineSpec, options: StartOptions = {}): Promise<Engine> {
  const { device = 'auto', engine: asked = 'auto', allowTf32 = false } = options;
  const mayUseGpu = device !== 'cpu' && asked !== 'native';
  const chosen = chooseGpus(asked, device, spec, mayUseGpu ? await gpuHere() : notLookedFor);
  if (!chosen) return startEngine(spec, { ...options, retryMs: undefined, env: { CUDA_VISIBLE_DEVICES: '-1' } });
  const { engine, gpus, reason } = chosen;
  // One among several tries again by itself; a model without any is started anew by whoever loads it.
  const retryMs = gpus.length > 1 ? options.retryMs : undefined;
  const starting = gpus.map((gpu) =>
    startEngine({ ...spec, gpu }, { ...options, retryMs, engine, reason, env: environmentOf(gpu, allowTf32) }),
  );
  const settled = await Promise.allSettled(starting);
  const started = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed) {
    await Promise.all(started.map((one) => one.close()));
    throw failed.reason;
  }
  return started.length === 1 ? (started[0] as Engine) : new EnginePool(started);
}

const notLookedFor = { usable: false, reason: 'none was looked for', isInstalled: false } as const;

function environmentOf({ index }: Gpu, allowTf32: boolean): NodeJS.ProcessEnv {
  return {
    CUDA_DEVICE_ORDER: process.env.CUDA_DEVICE_ORDER ?? 'PCI_BUS_ID',
    CUDA_VISIBLE_DEVICES: String(index),
    TF_FORCE_GPU_ALLOW_GROWTH: process.env.TF_FORCE_GPU_ALLOW_GROWTH ?? 'true',
    ...(!allowTf32 && { NVIDIA_TF32_OVERRIDE: '0' }),
  };
}
