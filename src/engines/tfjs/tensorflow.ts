import { createRequire } from 'node:module';
import util from 'node:util';

/** An optional peer of this package: it is installed by whoever has a GPU (docs/gpu.md). */
export const tensorFlowPackage = '@tensorflow/tfjs-node-gpu';

export interface TfTensor {
  readonly shape: readonly number[];
  /** Waits for the device. The array is the caller's. */
  dataSync(): Float32Array;
  dispose(): void;
}

type Pair = readonly [number, number];
type Window = Pair | number;
/** Before and after each axis of [n, height, width, channels]. */
export type ExplicitPadding = readonly [Pair, Pair, Pair, Pair];

/** What is used of TensorFlow.js, in its own words: https://js.tensorflow.org/api/latest. Maps are [n, height, width, channels]. */
export interface TensorFlow {
  tensor(values: Float32Array | Uint8Array, shape: readonly number[], dtype: 'float32' | 'int32'): TfTensor;
  /** Disposes what `work` made, all but what it returns. */
  tidy<T>(work: () => T): T;
  memory(): { readonly numTensors: number };
  cast(x: TfTensor, dtype: 'float32'): TfTensor;
  add(a: TfTensor, b: TfTensor): TfTensor;
  sub(a: TfTensor, b: TfTensor): TfTensor;
  div(a: TfTensor, b: TfTensor): TfTensor;
  relu(x: TfTensor): TfTensor;
  reshape(x: TfTensor, shape: readonly number[]): TfTensor;
  pad(x: TfTensor, paddings: ExplicitPadding, value: number): TfTensor;
  maxPool(x: TfTensor, filterSize: Window, strides: Window, pad: 'valid'): TfTensor;
  avgPool(x: TfTensor, filterSize: Window, strides: Window, pad: 'valid'): TfTensor;
  matMul(a: TfTensor, b: TfTensor): TfTensor;
  /** x / (bias + alpha * sum of squares over 2 * depthRadius + 1 channels)^beta */
  localResponseNormalization(x: TfTensor, depthRadius: number, bias: number, alpha: number, beta: number): TfTensor;
  readonly fused: {
    /** @param options.filter [height, width, in, out] */
    conv2d(options: {
      readonly x: TfTensor;
      readonly filter: TfTensor;
      readonly strides: number;
      readonly pad: 'valid' | ExplicitPadding;
      readonly bias?: TfTensor | undefined;
      readonly activation?: 'relu' | undefined;
    }): TfTensor;
    matMul(options: {
      readonly a: TfTensor;
      readonly b: TfTensor;
      readonly transposeB: boolean;
      readonly bias: TfTensor;
      readonly activation?: 'relu' | undefined;
    }): TfTensor;
  };
  backend(): { readonly isGPUPackage: boolean; readonly isUsingGpuDevice: boolean };
  readonly version: Readonly<Record<string, string>>;
}

/** The package is not here, or does not load. The message says what was found and what to do. */
export class TensorFlowMissingError extends Error {
  override readonly name = 'TensorFlowMissingError';
}

/**
 * Loads TensorFlow into this process. It takes its number of threads from the environment, and writes to the standard
 * error what it finds of a GPU.
 * @throws TensorFlowMissingError
 */
export function loadTensorFlow(threads: number): TensorFlow {
  restoreUtilities();
  process.env.TF_NUM_INTRAOP_THREADS ??= String(threads);
  process.env.TF_NUM_INTEROP_THREADS ??= '1';
  const require = createRequire(import.meta.url);
  let path: string;
  try {
    path = require.resolve(tensorFlowPackage);
  } catch (error) {
    throw new TensorFlowMissingError(`${tensorFlowPackage} is not installed: docs/gpu.md says how.`, { cause: error });
  }
  try {
    return require(path) as TensorFlow;
  } catch (error) {
    throw new TensorFlowMissingError(`${tensorFlowPackage} does not load: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Node 23 took these out; tfjs-node 4.22 calls them. */
function restoreUtilities(): void {
  const utilities = util as unknown as Record<string, unknown>;
  utilities.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  utilities.isArray ??= Array.isArray;
}
