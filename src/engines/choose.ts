import { buildCommand } from '../addon-file.js';
import type { DeviceChoice } from './device.js';
import type { EngineName, EngineSpec, Gpu, IsaChoice, Precision } from './engine.js';
import { whyNotNative } from './native/layers.js';
import type { GpuFinding } from './tfjs/gpu.js';

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
  if (asked === 'onnxruntime' || asked === 'tfjs') {
    refuseOther(asked, wanted, 'it was asked for');
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
      refuseOther('onnxruntime', wanted, reason);
      return { engine: 'onnxruntime', reason };
    }
    default:
      return asked satisfies never;
  }
}

/**
 * The GPUs that a network runs on, and by which engine; undefined where it runs on the CPU. A GPU that is asked for is
 * used or refused; one that is not asked for is taken where TensorFlow really uses it.
 * @throws EngineChoiceError
 */
export function chooseGpus(
  asked: EngineChoice,
  device: DeviceChoice,
  wanted: Wanted,
  finding: GpuFinding,
): { readonly engine: EngineName; readonly gpus: readonly Gpu[]; readonly reason: string } | undefined {
  if (device === 'cpu' || (device === 'auto' && (asked === 'native' || asked === 'onnxruntime'))) return undefined;
  if (asked === 'native') {
    throw new EngineChoiceError('The native engine runs on the CPU only: take --device cpu, or --engine auto.');
  }
  const engine = asked === 'onnxruntime' ? asked : 'tfjs';
  if (device === 'auto') {
    if (!finding.usable || wanted.precision !== 'fp32' || (wanted.isa ?? 'auto') !== 'auto') return undefined;
    return { engine, gpus: finding.devices.slice(0, 1), reason: 'TensorFlow uses a GPU here' };
  }
  refuseOther(engine, wanted, 'a GPU was asked for');
  const indices = device === 'gpu' ? [finding.usable ? (finding.devices[0]?.index ?? 0) : 0] : device;
  // Of what onnxruntime needs it says itself what is missing.
  if (engine === 'onnxruntime')
    return { engine, gpus: indices.map((index) => ({ index })), reason: 'it was asked for' };
  if (!finding.usable) {
    throw new EngineChoiceError(`No GPU can be used: ${finding.reason}. Otherwise take --device cpu.`);
  }
  const gpus = indices.map((index) => {
    const gpu = finding.devices.find((found) => found.index === index);
    if (gpu) return gpu;
    const here = finding.devices.map((found) => `${found.index} (${found.name})`).join(', ');
    throw new EngineChoiceError(`There is no GPU ${index}: TensorFlow sees ${here || 'one without a name'}.`);
  });
  return { engine, gpus, reason: 'a GPU was asked for' };
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

/**
 * @param other an engine that has fp32 alone
 * @param reason why it would be that one
 */
function refuseOther(other: EngineName, { precision, isa = 'auto' }: Wanted, reason: string): void {
  const [what, instead] =
    precision !== 'fp32' ? [`Precision ${precision}`, 'precision fp32'] : [`--isa ${isa}`, '--isa auto'];
  if (precision === 'fp32' && isa === 'auto') return;
  throw new EngineChoiceError(
    `${what} is to be had from the native engine only; ${other}, which has fp32 and no such choice, would be taken: ` +
      `${reason}. Otherwise take ${instead}.`,
  );
}

/** The part of the choice that no network changes. @throws EngineChoiceError */
export function refuseMissing(asked: EngineChoice, isNativeBuilt: boolean): void {
  if (asked === 'native' && !isNativeBuilt) throw new EngineChoiceError(`--engine native: ${notBuilt}.`);
}
