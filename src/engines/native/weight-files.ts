import { fstatSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { TensorSource } from '../../tensor.js';
import { type FileStamp, refuseOther } from '../file-stamp.js';
import type { Place, WeightFile } from './addon.js';

/** A file of weights, open, and how it was then. */
interface OpenFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly size: number;
  readonly mtimeNs: bigint;
}

/** The files in which the tensors lie. */
export class WeightFiles {
  readonly #opened: OpenFile[] = [];
  readonly #places = new Map<string, Place>();
  #isClosed = false;

  /** @param stamps of the files, where they must be the ones that were loaded before */
  static async open(tensors: readonly TensorSource[], stamps?: readonly FileStamp[]): Promise<WeightFiles> {
    const weights = new WeightFiles();
    try {
      for (const path of new Set(tensors.map((tensor) => tensor.path))) await weights.#add(path, stamps);
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

  async #add(path: string, stamps: readonly FileStamp[] | undefined): Promise<void> {
    const handle = await open(path).catch((error: Error) => {
      throw new Error(`The weights cannot be read: ${error.message}`, { cause: error });
    });
    const { size, mtimeNs } = fstatSync(handle.fd, { bigint: true });
    this.#opened.push({ path, handle, size: Number(size), mtimeNs });
    refuseOther(stamps, path, handle.fd);
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
