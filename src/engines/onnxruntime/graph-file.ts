import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { type GraphSpec, graphParts } from './graph.js';
import { byteLengthOf } from './onnx.js';

/** Protocol buffers hold no message of 2 GiB or more. */
const mostBytes = 2 ** 31 - 1;

/**
 * Writes the network as one ONNX file that needs no other: the weights are inside, normalisation too. They are copied
 * piece by piece, never held as a whole; the file appears under its name only when it is complete.
 * @returns its size in bytes
 * @throws RangeError when the file would be too large for ONNX, or a tensor does not fit; what the file system throws
 */
export async function writeGraphFile(path: string, spec: GraphSpec): Promise<number> {
  const parts = graphParts(spec, 'inline');
  const byteLength = byteLengthOf(parts);
  if (byteLength > mostBytes) {
    throw new RangeError(
      `The file would have ${byteLength} bytes; an ONNX file that holds its weights may have at most ${mostBytes}.`,
    );
  }
  const temporaryPath = `${path}.${randomUUID()}.tmp`;
  const handle = await open(temporaryPath, 'wx');
  try {
    for (const part of parts) await (Buffer.isBuffer(part) ? handle.writeFile(part) : copyRange(part, handle));
    await handle.sync();
    await handle.close();
    await rename(temporaryPath, path);
  } catch (error) {
    await handle.close();
    await rm(temporaryPath, { force: true });
    throw error;
  }
  return byteLength;
}

async function copyRange(
  { path, byteOffset, byteLength }: { path: string; byteOffset: number; byteLength: number },
  target: FileHandle,
): Promise<void> {
  let copied = 0;
  const range = { start: byteOffset, end: byteOffset + byteLength - 1, highWaterMark: 1 << 20 };
  for await (const chunk of createReadStream(path, range) as AsyncIterable<Buffer>) {
    await target.writeFile(chunk);
    copied += chunk.byteLength;
  }
  if (copied !== byteLength) throw new Error(`${path} has become shorter while it was read`);
}
