import { createRequire } from 'node:module';
import { addonFile, buildCommand } from '../../addon-file.js';
import type { Precision } from '../engine.js';

/** What native/addon.cc exports. Every call throws Error or TypeError for what it cannot do. */
export interface Addon {
  open(spec: NativeSpec): Handle;
  /** Blocks until `logits` [n, classes] are written. @param pixels [n, inputSize, inputSize, 3] */
  run(handle: Handle, pixels: Uint8Array, n: number, logits: Float32Array): void;
  about(handle: Handle): { readonly isa: Isa /** JSON */; readonly plan: string };
  /** Which precisions run on this machine by that instruction set, or by any: true, or why not. */
  precisions(isa: string): Readonly<Record<'fp32' | 'bf16' | 'bf16-classifier', true | string>>;
  /** JSON, of the last run: [{"layer", "kind", "ms"}], in the order of the plan; empty unless the spec asks to profile. */
  times(handle: Handle): string;
  /** Gives the memory back; later runs throw. */
  close(handle: Handle): void;
  /** 10^9 floating point operations a second that the machine can make at most; takes a fifth of a second. */
  fmaPeak(isa: Isa | '', threads: number): number;
}

/** An external value: only the addon can look into it. */
export type Handle = { readonly handle: unique symbol };

/** Instruction sets for which there are kernels, the fastest first. Only arm64 has `neon`, and no other. */
export const isas = ['avx512', 'avx2', 'neon', 'baseline'] as const;
/** Those for bf16 alone, the fastest first. */
export const bf16Isas = ['amx', 'avx512bf16'] as const;
export type Isa = (typeof isas)[number] | (typeof bf16Isas)[number];

export interface NativeSpec {
  readonly files: readonly WeightFile[];
  readonly layers: readonly NativeLayer[];
  readonly inputSize: number;
  readonly classes: number;
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  readonly maxBatchSize: number;
  readonly threads: number;
  readonly precision: Precision;
  /** Empty: the best that the machine has. */
  readonly isa: Isa | '';
  /** Whether each layer is timed. @default false */
  readonly profile?: boolean;
}

/** Read by open() and not afterwards: the descriptor may be closed then. */
export interface WeightFile {
  readonly fd: number;
  /** In bytes. */
  readonly size: number;
}

/** A tensor of float32 in C order: index of its file, offset of its first byte. */
export type Place = readonly [file: number, byteOffset: number];

export type NativeLayer =
  | {
      readonly kind: 'conv';
      readonly in: number;
      readonly out: number;
      readonly kernel: number;
      readonly padding: number;
      readonly weight: Place;
      readonly bias: Place | null;
    }
  | {
      readonly kind: 'batchnorm';
      readonly channels: number;
      readonly eps: number;
      readonly weight: Place;
      readonly bias: Place;
      readonly running_mean: Place;
      readonly running_var: Place;
    }
  | { readonly kind: 'relu' | 'maxpool' | 'flatten' }
  | { readonly kind: 'lrn'; readonly size: number; readonly alpha: number; readonly beta: number; readonly k: number }
  | { readonly kind: 'avgpool'; readonly output: readonly [number, number] }
  | {
      readonly kind: 'linear';
      readonly in: number;
      readonly out: number;
      readonly weight: Place;
      readonly bias: Place;
    };

/** Built here, or prebuilt for such machines. */
export function isAddonBuilt(): boolean {
  return addonFile('vgg_native') !== undefined;
}

/** @throws Error that says why it cannot be loaded, and what to do */
export function loadAddon(): Addon {
  const path = addonFile('vgg_native');
  try {
    if (path === undefined) throw new Error('it is not built');
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    throw new Error(
      `The native engine cannot be loaded: ${(error as Error).message.replace(/\.$/, '')}. Build it on this machine (${buildCommand}), ` +
        'or take --engine onnxruntime.',
      { cause: error },
    );
  }
}
