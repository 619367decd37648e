import { readFile, stat } from 'node:fs/promises';
import { getSystemErrorMap } from 'node:util';
import { type ErrorCode, ServiceError } from '../errors.js';
import { UnreadableUrlError } from './url-reader.js';

/** Why one picture of several was not done. */
export interface PictureFailure {
  /** Of the table in errors.ts, or that it could not be read at all. */
  readonly code: ErrorCode | 'unreadable_file' | 'unreadable_url';
  readonly detail: string;
}

/** Reads a file unless it is too large: then it throws ServiceError `image_too_many_bytes` without having read it. */
export async function readPicture(file: string, maxBytes: number): Promise<Uint8Array> {
  const { size } = await stat(file);
  if (size > maxBytes) {
    throw new ServiceError('image_too_many_bytes', `The picture has ${size} bytes; at most ${maxBytes} are allowed.`);
  }
  return await readFile(file);
}

/** The failure that concerns this picture alone: on reading it, or a ServiceError. Throws any other error. */
export function pictureFailure(error: unknown): PictureFailure {
  if (error instanceof ServiceError) return { code: error.code, detail: error.message };
  if (error instanceof UnreadableUrlError) return { code: 'unreadable_url', detail: error.message };
  const { errno } = error as NodeJS.ErrnoException;
  const [, reason] = (errno !== undefined && getSystemErrorMap().get(errno)) || [];
  if (reason !== undefined) return { code: 'unreadable_file', detail: reason };
  throw error;
}

/** Tells on stderr which file or URL was not done, and why. */
export function reportFailure(file: string, { code, detail }: PictureFailure): void {
  process.stderr.write(`vgg-serve: ${file}: ${detail}${code.startsWith('unreadable_') ? '' : ` (${code})`}\n`);
}
