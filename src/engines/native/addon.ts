import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** Where native/build.mjs puts what it has compiled. */
const addonPath = fileURLToPath(new URL('../../../../native/build/vgg_native.node', import.meta.url));

/** What native/addon.cc exports. Every call throws Error or TypeError for what it cannot do. */
export interface Addon {
  open(spec: NativeSpec): Handle;
  /** Blocks until `logits` [n, classes] are written. @param pixels [n, inputSize, inputSize, 3] */
  run(handle: Handle, pixels: Uint8Array, n: number, logits: Float32Array): void;
  about(handle: Handle): { readonly isa: Isa /** JSON */; readonly plan: string };
  /** Which precisions run on this machine by that instruction set, or by any: true, or why not. */
  precisions(isa: string): Readonly<Record<'fp32' | 'bf16' | 'bf16-classifier', true | string>>;
  /** Gives the memory back; later runs throw. */
  close(handle: Handle): void;
}

/** An external value: only the addon can look into it. */
export type Handle = { readonly handle: unique symbol };

/** Instruction sets for which there are kernels, the fastest first. The baseline of arm64 has NEON. */
export const isas = ['avx512', 'avx2', 'baseline'] as const;
export type Isa = (typeof isas)[number];

export interface NativeSpec {
  readonly files: readonly WeightFile[];
  readonly layers: readonly NativeLayer[];
  readonly inputSize: number;
  readonly classes: number;
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  readonly maxBatchSize: number;
  readonly threads: number;
  /** Empty: the best that the machine has. */
  readonly isa: Isa | '';
}

/** Mapped into memory by open(); the descriptor may be closed after it. */
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

export function isAddonBuilt(): boolean {
  return existsSync(addonPath);
}

/** @throws Error that says why it cannot be loaded, and what to do */
export function loadAddon(): Addon {
  try {
    return createRequire(import.meta.url)(addonPath) as Addon;
  } catch (error) {
    throw new Error(
      `The native engine cannot be loaded: ${(error as Error).message}. Build it on this machine (npm run build), or ` +
        'take --engine onnxruntime.',
      { cause: error },
    );
  }
}
