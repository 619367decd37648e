import { type FileHandle, open, stat } from 'node:fs/promises';
import { CheckpointError, type CheckpointReason } from './checkpoint-error.js';

export interface ByteRange {
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** A file that is read at places, never as a whole. */
export class CheckpointFile {
  readonly path: string;
  readonly byteLength: number;
  readonly #handle: FileHandle;

  private constructor(path: string, byteLength: number, handle: FileHandle) {
    this.path = path;
    this.byteLength = byteLength;
    this.#handle = handle;
  }

  /** Throws CheckpointError `file_not_found`, `file_unreadable` or `not_a_file`. */
  static async open(path: string): Promise<CheckpointFile> {
    const fail = (error: NodeJS.ErrnoException): never => {
      throw openError(path, error);
    };
    // Asked before it is opened: to open a named pipe would wait for its writer.
    const stats = await stat(path).catch(fail);
    if (!stats.isFile())
      throw new CheckpointError('not_a_file', path, `This is ${stats.isDirectory() ? 'a folder' : 'a special file'}.`);
    return new CheckpointFile(path, stats.size, await open(path, 'r').catch(fail));
  }

  /** Exactly `byteLength` bytes, at the start of an ArrayBuffer of their own. Throws CheckpointError `truncated`. */
  async read(byteOffset: number, byteLength: number): Promise<Buffer<ArrayBuffer>> {
    if (byteOffset + byteLength > this.byteLength) throw this.#tooShort(byteOffset, byteLength, this.byteLength);
    const bytes = Buffer.from(new ArrayBuffer(byteLength));
    for (let done = 0; done < byteLength; ) {
      const { bytesRead } = await this.#handle.read(bytes, done, byteLength - done, byteOffset + done);
      if (bytesRead === 0) throw this.#tooShort(byteOffset, byteLength, byteOffset + done);
      done += bytesRead;
    }
    return bytes;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  readonly blame = (reason: CheckpointReason, seen: string): CheckpointError =>
    new CheckpointError(reason, this.path, seen);

  #tooShort(byteOffset: number, byteLength: number, end: number): CheckpointError {
    return this.blame(
      'truncated',
      `Bytes ${byteOffset} to ${byteOffset + byteLength} are needed, the file ends at ${end}.`,
    );
  }
}

function openError(path: string, cause: NodeJS.ErrnoException): CheckpointError {
  const missing = cause.code === 'ENOENT' || cause.code === 'ENOTDIR';
  return missing
    ? new CheckpointError('file_not_found', path, 'There is no such file.', { cause })
    : new CheckpointError('file_unreadable', path, `The file cannot be opened (${cause.code}).`, { cause });
}
