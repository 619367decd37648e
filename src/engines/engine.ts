import type { Layer } from '../network/layer.js';
import type { TensorSource } from '../tensor.js';
import type { FileStamp } from './file-stamp.js';

/**
 * In which numbers a network is computed: `fp32` gives PyTorch's answer; `bf16` computes all of it in bfloat16,
 * `bf16-classifier` the linear layers alone.
 */
export const precisions = ['fp32', 'bf16', 'bf16-classifier'] as const;
export type Precision = (typeof precisions)[number];

export type Device = 'cpu' | 'gpu';

/** A GPU that a network runs on. */
export interface Gpu {
  /** As nvidia-smi counts. */
  readonly index: number;
  readonly name?: string | undefined;
  /** What the engine may take of its memory, in 2^20 bytes. */
  readonly memoryMb?: number | undefined;
}

/** Instruction sets that can be forced; which of them compute in which precision is said in choose.ts. */
export type IsaChoice = 'auto' | 'avx512' | 'avx2' | 'neon' | 'baseline' | 'amx' | 'avx512bf16';

/** All that an engine needs to build its network. Plain data: it crosses into the child process as JSON. */
export interface EngineSpec {
  readonly layers: readonly Layer[];
  /** Side of the square input in pixels. */
  readonly inputSize: number;
  readonly classes: number;
  /** Per channel, on the 0..1 scale, as torchvision's presets give them. The engine normalises; callers send bytes. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  /** Every parameter and running statistic of `layers`, by torch's name. */
  readonly tensors: readonly TensorSource[];
  /** What the files of the tensors are; an engine reads no other ones of their names. @default as they are at the first start */
  readonly files?: readonly FileStamp[] | undefined;
  readonly maxBatchSize: number;
  readonly threads: number;
  /**
   * Whether the engine may keep a copy of the weights in the order in which it reads them: faster for large batches,
   * about twice the memory. An engine that has no such choice ignores it.
   */
  readonly prepack: boolean;
  /** An engine that cannot compute in it does not start: there is never another one in its place. */
  readonly precision: Precision;
  /** Forces the kernels of one instruction set, of an engine that has them for several. @default 'auto': the fastest */
  readonly isa?: IsaChoice | undefined;
  /** The GPU that the engine must use: it does not start where it would fall back to the CPU. @default none: the CPU */
  readonly gpu?: Gpu | undefined;
}

export type EngineName = 'native' | 'onnxruntime' | 'tfjs';

export interface EngineInfo {
  readonly engine: EngineName;
  readonly version: string;
  readonly device: Device;
  /** Of a GPU, as far as it is known. */
  readonly deviceName?: string | undefined;
  readonly deviceMemoryMb?: number | undefined;
  readonly precision: Precision;
  readonly threads: number;
  /** The instruction set of its kernels, of an engine that has them for several. */
  readonly isa?: string;
  /** What it does, step by step, of an engine that plans that itself. */
  readonly plan?: readonly PlanStep[];
  /** How long the first runs took, once the network was read; of the process that was started first. */
  readonly warmUpMs?: number;
}

/** One step of a run; a layer that is missing among the steps was fused into the one before it, or does nothing. */
export interface PlanStep {
  /** By torch's name; null for what is no layer: normalisation. */
  readonly layer: string | null;
  readonly kind: string;
  /** Of Winograd's filtering F(tile x tile). */
  readonly tile?: number;
  /** Shapes, what was fused, and whatever else the engine tells. */
  readonly [fact: string]: unknown;
}

export interface EngineResult {
  /** [n, classes], row-major. The caller owns it. */
  readonly logits: Float32Array;
  /** Inside the engine alone, without the way there and back. */
  readonly computeMs: number;
}

/** Whether a run would begin at once (`up`), wait (`down`), or be refused (`failed`). */
export type EngineCondition =
  | { readonly state: 'up' }
  /** No process lives. `attempt` counts the processes that were started since the last run that was answered. */
  | { readonly state: 'down'; readonly reason: string; readonly attempt: number }
  /** It has given up. `mayRecover`: the same network, started anew, may do better. */
  | { readonly state: 'failed'; readonly reason: string; readonly mayRecover: boolean };

/**
 * Pixels in, logits out. As many runs at a time as it has lanes: the caller waits for a result before it sends the next.
 * `run` only reads `pixels`, and only until its promise settles. A run may be repeated: it has no side effect.
 *
 * An engine never repeats a run by itself. One whose process is lost rejects, and the caller alone, who knows what is in
 * the batch (the Batcher), decides what is run again, and with whom. While no process lives a run waits.
 */
export interface Engine {
  readonly info: EngineInfo;
  /** @default 1 */
  readonly lanes?: number;
  /**
   * @param pixels [n, inputSize, inputSize, 3] RGB, 1 <= n <= maxBatchSize
   * @throws EngineLostError when its process was lost during the run; ServiceError `engine_failed` when the process lives
   *   and could not run the batch, `model_not_ready` when it has given up, `shutting_down`
   */
  run(pixels: Uint8Array, n: number): Promise<EngineResult>;
  /** Calls the listener at once, and at each change of the condition. @default always up */
  watch?(listener: (condition: EngineCondition) => void): void;
  /** A run in flight is answered first. Later runs throw. */
  close(): Promise<void>;
}
