import type { EngineName, EngineSpec, Precision } from './engine.js';
import { whyNotNative } from './native/layers.js';

/** What can be asked for. */
export type EngineChoice = 'auto' | EngineName;

/** The engine that was asked for is not here, or does not run the network. The message says what to do. */
export class EngineChoiceError extends Error {
  override readonly name = 'EngineChoiceError';
}

/** With what to do about it. */
export const notBuilt =
  'the native engine is not built: "npm run build" builds it where a C++ compiler is (Debian: apt-get install g++)';

/** What of an EngineSpec the choice depends on. */
export type Wanted = Pick<EngineSpec, 'layers' | 'precision'>;

/**
 * Which engine runs a network, and why. A precision that is asked for is kept or refused, never changed; whether the
 * machine has it the engine itself says when it starts.
 * @param isNativeBuilt whether the addon is there
 * @throws EngineChoiceError
 */
export function chooseEngine(
  asked: EngineChoice,
  isNativeBuilt: boolean,
  { layers, precision }: Wanted,
): { readonly engine: EngineName; readonly reason: string } {
  if (asked === 'onnxruntime') {
    refuseOnnxruntime(precision, 'it was asked for');
    return { engine: asked, reason: 'it was asked for' };
  }
  refuseMissing(asked, isNativeBuilt);
  const why = isNativeBuilt ? whyNotNative(layers) : undefined;
  switch (asked) {
    case 'native':
      if (why !== undefined) {
        throw new EngineChoiceError(`The native engine does not run this network: ${why}. Take --engine auto.`);
      }
      return { engine: asked, reason: 'it was asked for' };
    case 'auto': {
      if (isNativeBuilt && why === undefined) return { engine: 'native', reason: 'it is built, and runs this network' };
      const reason = why === undefined ? notBuilt : `the native engine does not run this network: ${why}`;
      refuseOnnxruntime(precision, reason);
      return { engine: 'onnxruntime', reason };
    }
    default:
      return asked satisfies never;
  }
}

/** @param reason why it would be onnxruntime */
function refuseOnnxruntime(precision: Precision, reason: string): void {
  if (precision === 'fp32') return;
  throw new EngineChoiceError(
    `Precision ${precision} is to be had from the native engine only; onnxruntime, which computes in fp32, would be ` +
      `taken: ${reason}. Put that right, or take precision fp32.`,
  );
}

/** The part of the choice that no network changes. @throws EngineChoiceError */
export function refuseMissing(asked: EngineChoice, isNativeBuilt: boolean): void {
  if (asked === 'native' && !isNativeBuilt) throw new EngineChoiceError(`--engine native: ${notBuilt}.`);
}
