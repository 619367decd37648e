import { type FileHandle, open } from 'node:fs/promises';
import type { TensorSource } from '../../tensor.js';
import { type FileStamp, refuseOther } from '../file-stamp.js';
import type { Place, WeightFile } from './addon.js';

interface OpenFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly size: number;
}

/** The files in which the tensors lie, open until the engine has copied them. */
export class WeightFiles {
  readonly #opened: OpenFile[] = [];
  readonly #places = new Map<string, Place>();

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

  async close(): Promise<void> {
    for (const { handle } of this.#opened.splice(0)) await handle.close();
  }

  async #add(path: string, stamps: readonly FileStamp[] | undefined): Promise<void> {
    const handle = await open(path).catch((error: Error) => {
      throw new Error(`The weights cannot be read: ${error.message}`, { cause: error });
    });
    this.#opened.push({ path, handle, size: (await handle.stat()).size });
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
