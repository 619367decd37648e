import { buildCommand } from '../addon-file.js';
import type { Layer } from '../network/layer.js';
import type { EngineName } from './engine.js';
import { whyNotNative } from './native/layers.js';

/** What can be asked for. */
export type EngineChoice = 'auto' | EngineName;

/** The engine that was asked for is not here, or does not run the network. The message says what to do. */
export class EngineChoiceError extends Error {
  override readonly name = 'EngineChoiceError';
}

/** With what to do about it. */
export const notBuilt = `the native engine is not built: "${buildCommand}" builds it where a C++ compiler is (Debian: apt-get install g++)`;

/**
 * Which engine runs a network, and why.
 * @param isNativeBuilt whether the addon is there
 * @throws EngineChoiceError
 */
export function chooseEngine(
  asked: EngineChoice,
  isNativeBuilt: boolean,
  layers: readonly Layer[],
): { readonly engine: EngineName; readonly reason: string } {
  if (asked === 'onnxruntime') return { engine: asked, reason: 'it was asked for' };
  refuseMissing(asked, isNativeBuilt);
  const why = isNativeBuilt ? whyNotNative(layers) : undefined;
  switch (asked) {
    case 'native':
      if (why !== undefined) {
        throw new EngineChoiceError(`The native engine does not run this network: ${why}. Take --engine auto.`);
      }
      return { engine: asked, reason: 'it was asked for' };
    case 'auto':
      if (!isNativeBuilt) return { engine: 'onnxruntime', reason: notBuilt };
      if (why !== undefined) {
        return { engine: 'onnxruntime', reason: `the native engine does not run this network: ${why}` };
      }
      return { engine: 'native', reason: 'it is built, and runs this network' };
    default:
      return asked satisfies never;
  }
}

/** The part of the choice that no network changes. @throws EngineChoiceError */
export function refuseMissing(asked: EngineChoice, isNativeBuilt: boolean): void {
  if (asked === 'native' && !isNativeBuilt) throw new EngineChoiceError(`--engine native: ${notBuilt}.`);
}
