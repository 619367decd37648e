import type { Engine, EngineInfo, EngineSpec } from '../engine.js';
import { buildTfNetwork } from './network.js';
import { loadTensorFlow, type TensorFlow } from './tensorflow.js';

/** @throws as loadTensorFlow and buildTfNetwork do */
export async function openTfjs(spec: EngineSpec): Promise<Engine> {
  return openTfjsOn(loadTensorFlow(spec.threads), spec);
}

/**
 * TensorFlow in this process. Its runs block the event loop until the logits are there.
 * @throws as buildTfNetwork does
 */
export function openTfjsOn(tf: TensorFlow, spec: EngineSpec): Engine {
  const { inputSize, classes, threads, gpu } = spec;
  const { isUsingGpuDevice } = tf.backend();
  if (gpu && !isUsingGpuDevice) {
    throw new Error('TensorFlow does not use the GPU in this process, and would compute on the CPU: see the log.');
  }
  const pictureBytes = inputSize * inputSize * 3;
  const network = buildTfNetwork(tf, spec);
  const tensorsAtRest = tf.memory().numTensors;
  /** The most pictures that the device has memory for, as far as is known. */
  let most = spec.maxBatchSize;

  function runWhole(pixels: Uint8Array, n: number): Float32Array {
    const logits = tf.tidy(() => network.forward(tf.tensor(pixels, [n, inputSize, inputSize, 3], 'int32')));
    try {
      return logits.dataSync();
    } finally {
      logits.dispose();
    }
  }

  function runAll(pixels: Uint8Array, n: number): Float32Array {
    const logits = new Float32Array(n * classes);
    for (let start = 0; start < n; ) {
      const count = Math.min(most, n - start);
      try {
        const part = pixels.subarray(start * pictureBytes, (start + count) * pictureBytes);
        logits.set(runWhole(part, count), start * classes);
        start += count;
      } catch (error) {
        if (count === 1 || !isOutOfMemory(error)) throw error;
        most = Math.floor(count / 2);
        console.error(`out of memory at ${count} pictures: from now on at most ${most} at a time`);
      }
    }
    return logits;
  }

  const info: EngineInfo = {
    engine: 'tfjs',
    version: tf.version['tfjs-node'] ?? tf.version.tfjs ?? 'unknown',
    device: isUsingGpuDevice ? 'gpu' : 'cpu',
    ...(isUsingGpuDevice && { deviceName: gpu?.name, deviceMemoryMb: gpu?.memoryMb }),
    precision: 'fp32',
    threads,
  };
  return {
    info,
    async run(pixels, n) {
      const startedAt = performance.now();
      const logits = runAll(pixels, n);
      const left = tf.memory().numTensors - tensorsAtRest;
      if (left !== 0) throw new Error(`a run has left ${left} tensors behind`);
      return { logits, computeMs: performance.now() - startedAt };
    },
    async close() {
      network.dispose();
    },
  };
}

/** As TensorFlow words it, its own allocator and cuDNN's. */
function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && /\bOOM\b|out of memory|resource ?exhausted|failed to allocate/i.test(error.message);
}
