import { closeSync, openSync, readSync } from 'node:fs';
import type { Layer } from '../../network/layer.js';
import { elementCount, type TensorSource } from '../../tensor.js';
import { type FileStamp, refuseOther } from '../file-stamp.js';

type Convolution = Extract<Layer, { kind: 'conv' }>;
type BatchNorm = Extract<Layer, { kind: 'batchnorm' }>;

/** Values and their shape, ready for the device. */
export interface Weights {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

/** Reads tensors out of their files by ranges, one at a time. */
export class WeightReader {
  readonly #sources: ReadonlyMap<string, TensorSource>;
  readonly #files = new Map<string, number>();
  readonly #stamps: readonly FileStamp[] | undefined;

  /** @param stamps of the files, where they must be the ones that were loaded before */
  constructor(sources: readonly TensorSource[], stamps?: readonly FileStamp[]) {
    this.#stamps = stamps;
    this.#sources = new Map(sources.map((source) => [source.name, source]));
  }

  /** @throws Error when the file cannot be read or ends before the tensor does */
  read(name: string): Float32Array {
    const source = this.#sources.get(name);
    if (!source) throw new RangeError(`The tensor ${name} is missing.`);
    const values = new Float32Array(elementCount(source.shape));
    const bytes = new Uint8Array(values.buffer);
    const file = this.#open(source.path);
    for (let filled = 0; filled < bytes.length; ) {
      const got = readSync(file, bytes, filled, bytes.length - filled, source.byteOffset + filled);
      if (got === 0) {
        throw new RangeError(
          `${source.path} is too short: ${name} is out of bounds at byte ${source.byteOffset + filled}.`,
        );
      }
      filled += got;
    }
    return values;
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file);
    this.#files.clear();
  }

  #open(path: string): number {
    let file = this.#files.get(path);
    if (file === undefined) {
      try {
        file = openSync(path, 'r');
      } catch (error) {
        throw new Error(`The weights cannot be read: ${(error as Error).message}`, { cause: error });
      }
      this.#files.set(path, file);
      refuseOther(this.#stamps, path, file);
    }
    return file;
  }
}

// All that TensorFlow wants in another order than torch stands below.

/**
 * torch's [out, in, height, width] as TensorFlow's [height, width, in, out], and the batch norm that follows folded in:
 * with scale = gamma / sqrt(variance + eps) in float64, weight * scale and beta + (bias - mean) * scale.
 */
export function convolutionWeights(
  reader: WeightReader,
  conv: Convolution,
  batchNorm: BatchNorm | undefined,
): { readonly filter: Weights; readonly bias: Weights | undefined } {
  const { outChannels, inChannels, kernel } = conv;
  const taps = kernel * kernel;
  const { scale, bias } = foldedBatchNorm(reader, conv, batchNorm);
  const source = reader.read(`${conv.name}.weight`);
  const values = new Float32Array(source.length);
  for (let output = 0; output < outChannels; output++) {
    const factor = scale?.[output] ?? 1;
    for (let input = 0; input < inChannels; input++) {
      const from = (output * inChannels + input) * taps;
      for (let tap = 0; tap < taps; tap++) {
        values[(tap * inChannels + input) * outChannels + output] = (source[from + tap] ?? 0) * factor;
      }
    }
  }
  return {
    filter: { values, shape: [kernel, kernel, inChannels, outChannels] },
    bias: bias && { values: bias, shape: [outChannels] },
  };
}

function foldedBatchNorm(
  reader: WeightReader,
  conv: Convolution,
  batchNorm: BatchNorm | undefined,
): { readonly scale?: Float64Array; readonly bias: Float32Array | undefined } {
  const bias = conv.bias ? reader.read(`${conv.name}.bias`) : undefined;
  if (!batchNorm) return { bias };
  const [gamma, beta, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map((name) =>
    reader.read(`${batchNorm.name}.${name}`),
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const scale = Float64Array.from(gamma, (value, i) => value / Math.sqrt((variance[i] ?? 0) + batchNorm.eps));
  const folded = beta.map((value, i) => value + ((bias?.[i] ?? 0) - (mean[i] ?? 0)) * (scale[i] ?? 0));
  return { scale, bias: folded };
}

/**
 * [out, in] as torch has it: matMul can transpose.
 * @param flattened the map [channels, height, width] that torch flattened to the features; here it is flattened as
 *   [height, width, channels], and the columns follow it
 */
export function linearWeights(
  reader: WeightReader,
  linear: Extract<Layer, { kind: 'linear' }>,
  flattened: readonly number[] | undefined,
): { readonly matrix: Weights; readonly bias: Weights } {
  const { outFeatures, inFeatures } = linear;
  const values = reader.read(`${linear.name}.weight`);
  if (flattened) channelsLast(values, inFeatures, flattened);
  return {
    matrix: { values, shape: [outFeatures, inFeatures] },
    bias: { values: reader.read(`${linear.name}.bias`), shape: [outFeatures] },
  };
}

/** Each row in place, so that the largest tensor of all is in memory once. */
function channelsLast(
  values: Float32Array,
  rowLength: number,
  [channels = 0, height = 0, width = 0]: readonly number[],
): void {
  const pixels = height * width;
  if (pixels === 1) return;
  const row = new Float32Array(rowLength);
  for (let start = 0; start < values.length; start += rowLength) {
    row.set(values.subarray(start, start + rowLength));
    for (let channel = 0; channel < channels; channel++) {
      for (let pixel = 0; pixel < pixels; pixel++) {
        values[start + pixel * channels + channel] = row[channel * pixels + pixel] ?? 0;
      }
    }
  }
}
