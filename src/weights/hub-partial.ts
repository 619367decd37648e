import { createHash, type Hash } from 'node:crypto';
import { constants, type FileHandle, open, readFile, rename, rm, writeFile } from 'node:fs/promises';

/** What the bytes so far are a part of. */
export interface PartialOrigin {
  /** Without credentials and query. */
  readonly url: string;
  /** A strong ETag or a Last-Modified: what If-Range takes. */
  readonly validator: string | undefined;
  readonly totalBytes: number | undefined;
}

/**
 * A file that is still coming: `<path>.partial`, and beside it `<path>.partial.json`, which says what it is a part of, so
 * that another process can go on with it. Knows the SHA-256 of what it holds. One process at a time: see FileLock.
 */
export class PartialFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  #hash: Hash = createHash('sha256');
  #size = 0;
  #origin: PartialOrigin;

  private constructor(path: string, handle: FileHandle, origin: PartialOrigin) {
    this.#path = path;
    this.#handle = handle;
    this.#origin = origin;
  }

  /**
   * Takes up what an earlier process has left of the same URL, and reads it for its hash; else starts at zero.
   * @param path of the file when it is whole
   */
  static async open(path: string, url: string, signal: AbortSignal): Promise<PartialFile> {
    const left = await readOrigin(path);
    const handle = await open(partialPath(path), constants.O_RDWR | constants.O_CREAT);
    const partial = new PartialFile(path, handle, left ?? { url, validator: undefined, totalBytes: undefined });
    try {
      if (left?.url === url) await partial.#readBack(signal);
      else await partial.restart({ url, validator: undefined, totalBytes: undefined });
      if (partial.#size > (partial.totalBytes ?? Number.POSITIVE_INFINITY)) await partial.restart(partial.#origin);
    } catch (error) {
      await handle.close();
      throw error;
    }
    return partial;
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  get url(): string {
    return this.#origin.url;
  }

  get validator(): string | undefined {
    return this.#origin.validator;
  }

  get totalBytes(): number | undefined {
    return this.#origin.totalBytes;
  }

  /** Throws all bytes away, and notes what the coming ones are a part of. */
  async restart(origin: PartialOrigin): Promise<void> {
    await this.#handle.truncate(0);
    this.#hash = createHash('sha256');
    this.#size = 0;
    this.#origin = origin;
    await writeFile(originPath(this.#path), JSON.stringify(origin));
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let written = 0; written < chunk.length; ) {
      const rest = chunk.length - written;
      written += (await this.#handle.write(chunk, written, rest, this.#size + written)).bytesWritten;
    }
    this.#hash.update(chunk);
    this.#size += chunk.length;
  }

  /** Of the bytes so far, in lower-case hex. */
  sha256(): string {
    return this.#hash.copy().digest('hex');
  }

  /** Gives the file its name, once it is on the disk. */
  async finish(): Promise<void> {
    await this.#handle.sync();
    await this.#handle.close();
    await rename(partialPath(this.#path), this.#path);
    await rm(originPath(this.#path), { force: true });
  }

  async discard(): Promise<void> {
    await this.#handle.close();
    await rm(partialPath(this.#path), { force: true });
    await rm(originPath(this.#path), { force: true });
  }

  /** Keeps the bytes for the next call. */
  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #readBack(signal: AbortSignal): Promise<void> {
    const chunk = Buffer.allocUnsafe(1 << 20);
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await this.#handle.read(chunk, 0, chunk.length, this.#size);
      if (bytesRead === 0) return;
      this.#hash.update(chunk.subarray(0, bytesRead));
      this.#size += bytesRead;
    }
  }
}

/** How much another process has fetched of how much, by its files. */
export async function readPartialSize(
  path: string,
): Promise<{ receivedBytes: number; totalBytes: number | undefined }> {
  const origin = await readOrigin(path);
  const handle = await open(partialPath(path), 'r').catch(() => undefined);
  const found = await handle?.stat().finally(() => handle.close());
  return { receivedBytes: found?.size ?? 0, totalBytes: origin?.totalBytes };
}

function partialPath(path: string): string {
  return `${path}.partial`;
}

function originPath(path: string): string {
  return `${path}.partial.json`;
}

/** Undefined when there is none, or none that this program wrote to its end. */
async function readOrigin(path: string): Promise<PartialOrigin | undefined> {
  const text = await readFile(originPath(path), 'utf8').catch(() => '');
  try {
    const { url, validator, totalBytes } = JSON.parse(text) as Partial<Record<keyof PartialOrigin, unknown>>;
    if (typeof url !== 'string') return undefined;
    return {
      url,
      validator: typeof validator === 'string' ? validator : undefined,
      totalBytes: Number.isSafeInteger(totalBytes) ? (totalBytes as number) : undefined,
    };
  } catch {
    return undefined;
  }
}
