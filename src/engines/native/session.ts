import { readFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { TensorSource } from '../../tensor.js';
import type { Engine, EngineInfo, EngineSpec, IsaChoice } from '../engine.js';
import { tensorsOf } from '../tensors.js';
import { type Isa, loadAddon, type Place } from './addon.js';
import { nativeLayers } from './layers.js';
import { readPlan } from './plan.js';

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
  const plan = readPlan(about.plan, spec);
  const info: EngineInfo = {
    engine: 'native',
    version: packageVersion(),
    device: 'cpu',
    precision,
    threads,
    isa: about.isa,
    plan,
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
