import { fstatSync } from 'node:fs';
import { stat } from 'node:fs/promises';

/**
 * What tells a file of weights from another one of its name, without reading it. The large numbers are decimal strings:
 * it crosses into the engine's process as JSON.
 */
export interface FileStamp {
  readonly path: string;
  /** In bytes. */
  readonly size: string;
  readonly mtimeNs: string;
  readonly inode: string;
}

/** A file is not the one that was loaded: what is known of it (offsets, its hash) is not true of this one. */
export class OtherFileError extends Error {
  override readonly name = 'OtherFileError';
}

/** @throws Error when the file is not there */
export async function stampOf(path: string): Promise<FileStamp> {
  return stampFrom(path, await stat(path, { bigint: true }));
}

/**
 * Looks at the descriptor, so that what is read from it is what was looked at.
 * @param stamps of any files; one without a stamp is not refused
 * @throws OtherFileError
 */
export function refuseOther(stamps: readonly FileStamp[] | undefined, path: string, fd: number): void {
  const expected = stamps?.find((stamp) => stamp.path === path);
  if (expected) refuseDifference(expected, stampFrom(path, fstatSync(fd, { bigint: true })));
}

/** By their paths. A file that is not there is passed over. @throws OtherFileError */
export async function refuseReplaced(stamps: readonly FileStamp[]): Promise<void> {
  for (const expected of stamps) {
    const seen = await stampOf(expected.path).catch(() => undefined);
    if (seen) refuseDifference(expected, seen);
  }
}

function stampFrom(path: string, { size, mtimeNs, ino }: { size: bigint; mtimeNs: bigint; ino: bigint }): FileStamp {
  return { path, size: String(size), mtimeNs: String(mtimeNs), inode: String(ino) };
}

function refuseDifference(expected: FileStamp, seen: FileStamp): void {
  const { path } = expected;
  if (seen.inode === expected.inode && seen.size === expected.size && seen.mtimeNs === expected.mtimeNs) return;
  const what = seen.inode === expected.inode ? 'was written to since it was loaded' : 'is not the file that was loaded';
  throw new OtherFileError(`${path} ${what} (${seen.size} bytes; it had ${expected.size}): load the model again.`);
}
