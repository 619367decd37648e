import { fstatSync, readFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { TensorSource } from '../../tensor.js';
import type { Engine, EngineInfo, EngineSpec } from '../engine.js';
import { tensorsOf } from '../tensors.js';
import { type Handle, type Isa, loadAddon, type Place, type WeightFile } from './addon.js';
import { nativeLayers } from './layers.js';

/**
 * The engine of native/ in this process. Its runs are synchronous: they block the event loop until the logits are there.
 * They throw once a file of weights has been written to, since the weights of linear layers are read from it.
 * @param isa for tests; @default the best that the machine has
 * @throws Error when the addon cannot be loaded, a file of weights is not there or too short, there is not enough
 *   memory, or the machine has not that instruction set; RangeError for a network that does not fit
 */
export async function openNative(spec: EngineSpec, isa: Isa | '' = ''): Promise<Engine> {
  const addon = loadAddon();
  const { inputSize, classes, mean, std, maxBatchSize, threads } = spec;
  const weights = await WeightFiles.open(tensorsOf(spec));
  let handle: Handle;
  try {
    const layers = nativeLayers(spec.layers, (tensor) => weights.place(tensor));
    const { files } = weights;
    handle = addon.open({ files, layers, inputSize, classes, mean, std, maxBatchSize, threads, isa });
  } catch (error) {
    await weights.close();
    throw error;
  }
  const info: EngineInfo = {
    engine: 'native',
    version: packageVersion(),
    device: 'cpu',
    precision: 'fp32',
    threads,
    isa: addon.about(handle).isa,
  };
  return {
    info,
    async run(pixels, n) {
      const startedAt = performance.now();
      const logits = new Float32Array(n * classes);
      // Before, so that a file that was cut is an error and no end of the process; after, so that no answer is wrong.
      weights.refuseIfChanged();
      addon.run(handle, pixels, n, logits);
      weights.refuseIfChanged();
      return { logits, computeMs: performance.now() - startedAt };
    },
    async close() {
      addon.close(handle);
      await weights.close();
    },
  };
}

/** A file of weights, open, and how it was then. */
interface OpenFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly size: number;
  readonly mtimeNs: bigint;
}

/** The files in which the tensors lie. */
class WeightFiles {
  readonly #opened: OpenFile[] = [];
  readonly #places = new Map<string, Place>();
  #isClosed = false;

  static async open(tensors: readonly TensorSource[]): Promise<WeightFiles> {
    const weights = new WeightFiles();
    try {
      for (const path of new Set(tensors.map((tensor) => tensor.path))) await weights.#add(path);
      for (const tensor of tensors) weights.#addPlace(tensor);
      return weights;
    } catch (error) {
      await weights.close();
      throw error;
    }
  }

  get files(): WeightFile[] {
    return this.#opened.map(({ handle, size }) => ({ fd: handle.fd, size }));
  }

  place(tensor: string): Place {
    const place = this.#places.get(tensor);
    if (!place) throw new RangeError(`The tensor ${tensor} is missing.`);
    return place;
  }

  /** By what the system says of each file, not by its bytes: some microseconds. */
  refuseIfChanged(): void {
    if (this.#isClosed) return;
    for (const { path, handle, size, mtimeNs } of this.#opened) {
      const now = fstatSync(handle.fd, { bigint: true });
      if (now.mtimeNs === mtimeNs && now.size === BigInt(size)) continue;
      throw new Error(
        `${path} was written to while it was served (it has ${now.size} bytes; it had ${size}): load the model again. ` +
          'To replace a checkpoint, rename a new file over it.',
      );
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { handle } of this.#opened) await handle.close();
  }

  async #add(path: string): Promise<void> {
    const handle = await open(path).catch((error: Error) => {
      throw new Error(`The weights cannot be read: ${error.message}`, { cause: error });
    });
    const { size, mtimeNs } = fstatSync(handle.fd, { bigint: true });
    this.#opened.push({ path, handle, size: Number(size), mtimeNs });
  }

  #addPlace({ name, path, byteOffset, byteLength }: TensorSource): void {
    const file = this.#opened.findIndex((opened) => opened.path === path);
    const size = this.#opened[file]?.size ?? 0;
    if (byteOffset + byteLength > size) {
      const range = `bytes ${byteOffset} to ${byteOffset + byteLength}`;
      throw new RangeError(`${path} is too short: it has ${size} bytes, and ${name} (${range}) is out of bounds.`);
    }
    this.#places.set(name, [file, byteOffset]);
  }
}

function packageVersion(): string {
  return JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')).version;
}
