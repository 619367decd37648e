import { readFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Layer } from '../../network/layer.js';
import type { TensorSource } from '../../tensor.js';
import type { Engine, EngineInfo, EngineSpec, IsaChoice, PlanStep } from '../engine.js';
import { tensorsOf } from '../tensors.js';
import { type Isa, loadAddon, type Place } from './addon.js';
import { layersRun, nativeLayers } from './layers.js';

/**
 * The engine of native/ in this process. Its runs are synchronous: they block the event loop until the logits are there.
 * @param isa @default what the spec says
 * @throws Error when the addon cannot be loaded, a file of weights is not there or too short, there is not enough
 *   memory, or the machine has not that instruction set or nothing to compute that precision by; RangeError for a
 *   network that does not fit
 */
export async function openNative(spec: EngineSpec, isa = isaOf(spec.isa)): Promise<Engine> {
  const addon = loadAddon();
  const { inputSize, classes, mean, std, maxBatchSize, threads, precision } = spec;
  const handle = await withFiles(tensorsOf(spec), (files, place) => {
    const layers = nativeLayers(spec.layers, place);
    return addon.open({ files, layers, inputSize, classes, mean, std, maxBatchSize, threads, precision, isa });
  });
  const about = addon.about(handle);
  const { precision: computedIn, steps } = readPlan(about.plan, spec.layers);
  if (computedIn !== precision) {
    addon.close(handle);
    throw new Error(
      `The native engine that is built here computes in ${computedIn}, not in ${precision}: it is older than the ` +
        'service. Build it again (npm run build).',
    );
  }
  const info: EngineInfo = {
    engine: 'native',
    version: packageVersion(),
    device: 'cpu',
    precision,
    threads,
    isa: about.isa,
    plan: steps,
  };
  return {
    info,
    async run(pixels, n) {
      const startedAt = performance.now();
      const logits = new Float32Array(n * classes);
      addon.run(handle, pixels, n, logits);
      return { logits, computeMs: performance.now() - startedAt };
    },
    async close() {
      addon.close(handle);
    },
  };
}

/** As the addon takes it. */
function isaOf(isa: IsaChoice = 'auto'): Isa | '' {
  return isa === 'auto' ? '' : isa;
}

/** The plan as the addon tells it, with the names of the layers in place of their indices. */
function readPlan(json: string, layers: readonly Layer[]): { precision: string; steps: readonly PlanStep[] } {
  // An addon that says no precision knew fp32 alone.
  const { precision = 'fp32', layers: steps } = JSON.parse(json) as Plan;
  const run = layersRun(layers);
  return { precision, steps: steps.map((step) => ({ ...step, layer: run[step.layer]?.name ?? null })) };
}

interface Plan {
  readonly precision?: string;
  /** `layer`: index into what open() was given, or -1. */
  readonly layers: readonly { readonly layer: number; readonly kind: string; readonly tile?: number }[];
}

/** Opens the files in which the tensors lie, for as long as `work` takes. */
async function withFiles<T>(
  tensors: readonly TensorSource[],
  work: (files: { fd: number; size: number }[], place: (tensor: string) => Place) => T,
): Promise<T> {
  const paths = [...new Set(tensors.map(({ path }) => path))];
  const handles: FileHandle[] = [];
  try {
    const files: { fd: number; size: number }[] = [];
    for (const path of paths) {
      const handle = await open(path).catch((error: Error) => {
        throw new Error(`The weights cannot be read: ${error.message}`, { cause: error });
      });
      handles.push(handle);
      files.push({ fd: handle.fd, size: (await handle.stat()).size });
    }
    const places = new Map<string, Place>();
    for (const { name, path, byteOffset, byteLength } of tensors) {
      const file = paths.indexOf(path);
      const size = files[file]?.size ?? 0;
      if (byteOffset + byteLength > size) {
        const range = `bytes ${byteOffset} to ${byteOffset + byteLength}`;
        throw new RangeError(`${path} is too short: it has ${size} bytes, and ${name} (${range}) is out of bounds.`);
      }
      places.set(name, [file, byteOffset]);
    }
    return work(files, (tensor) => {
      const place = places.get(tensor);
      if (!place) throw new RangeError(`The tensor ${tensor} is missing.`);
      return place;
    });
  } finally {
    for (const handle of handles) await handle.close();
  }
}

function packageVersion(): string {
  return JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')).version;
}
