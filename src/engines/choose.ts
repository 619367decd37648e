import { buildCommand } from '../addon-file.js';
import type { EngineName, EngineSpec, IsaChoice, Precision } from './engine.js';
import { whyNotNative } from './native/layers.js';

/** What can be asked for. */
export type EngineChoice = 'auto' | EngineName;

/** The engine that was asked for is not here, or does not run the network. The message says what to do. */
export class EngineChoiceError extends Error {
  override readonly name = 'EngineChoiceError';
}

/** With what to do about it. */
export const notBuilt = `the native engine is not built: "${buildCommand}" builds it where a C++ compiler is (Debian: apt-get install g++)`;

/** The instruction sets of the native engine's kernels for each precision. */
export const isasOf = {
  fp32: ['avx512', 'avx2', 'neon', 'baseline'],
  bf16: ['amx', 'avx512bf16'],
  'bf16-classifier': ['avx512', 'avx2', 'neon', 'baseline'],
} as const satisfies Record<Precision, readonly IsaChoice[]>;

/** What of an EngineSpec the choice depends on. */
export type Wanted = Pick<EngineSpec, 'layers' | 'precision' | 'isa'>;

/**
 * Which engine runs a network, and why. A precision and an instruction set that are asked for are kept or refused, never
 * changed; whether the machine has them the engine itself says when it starts.
 * @param isNativeBuilt whether the addon is there
 * @throws EngineChoiceError
 */
export function chooseEngine(
  asked: EngineChoice,
  isNativeBuilt: boolean,
  wanted: Wanted,
): { readonly engine: EngineName; readonly reason: string } {
  refuseOtherIsa(wanted);
  if (asked === 'onnxruntime') {
    refuseOnnxruntime(wanted, 'it was asked for');
    return { engine: asked, reason: 'it was asked for' };
  }
  refuseMissing(asked, isNativeBuilt);
  const why = isNativeBuilt ? whyNotNative(wanted.layers) : undefined;
  switch (asked) {
    case 'native':
      if (why !== undefined) {
        throw new EngineChoiceError(`The native engine does not run this network: ${why}. Take --engine auto.`);
      }
      return { engine: asked, reason: 'it was asked for' };
    case 'auto': {
      if (isNativeBuilt && why === undefined) return { engine: 'native', reason: 'it is built, and runs this network' };
      const reason = why === undefined ? notBuilt : `the native engine does not run this network: ${why}`;
      refuseOnnxruntime(wanted, reason);
      return { engine: 'onnxruntime', reason };
    }
    default:
      return asked satisfies never;
  }
}

/** Whether onnxruntime may stand in for an engine that is there but does not load. */
export function mayFallBack(
  asked: EngineChoice,
  engine: EngineName,
  { precision, isa = 'auto' }: Pick<Wanted, 'precision' | 'isa'>,
): boolean {
  return asked === 'auto' && engine === 'native' && precision === 'fp32' && isa === 'auto';
}

function refuseOtherIsa({ precision, isa = 'auto' }: Wanted): void {
  const allowed: readonly IsaChoice[] = isasOf[precision];
  if (isa === 'auto' || allowed.includes(isa)) return;
  throw new EngineChoiceError(
    `--isa ${isa} does not compute in ${precision}: give auto or one of ${allowed.join(', ')}, or another precision.`,
  );
}

/** @param reason why it would be onnxruntime */
function refuseOnnxruntime({ precision, isa = 'auto' }: Wanted, reason: string): void {
  const [what, instead] =
    precision !== 'fp32' ? [`Precision ${precision}`, 'precision fp32'] : [`--isa ${isa}`, '--isa auto'];
  if (precision === 'fp32' && isa === 'auto') return;
  throw new EngineChoiceError(
    `${what} is to be had from the native engine only; onnxruntime, which has fp32 and no such choice, would be taken: ` +
      `${reason}. Otherwise take ${instead}.`,
  );
}

/** The part of the choice that no network changes. @throws EngineChoiceError */
export function refuseMissing(asked: EngineChoice, isNativeBuilt: boolean): void {
  if (asked === 'native' && !isNativeBuilt) throw new EngineChoiceError(`--engine native: ${notBuilt}.`);
}
