import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

/**
 * The sha256 of a file in lower-case hex. It is read in chunks of 1 MiB into one piece of memory: a stream would leave
 * half a gigabyte of VGG-16 to the garbage collector.
 * Rejects with Node's own error when the file cannot be read, or with the reason of the signal.
 */
export async function sha256OfFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(1 << 20);
  const file = await open(path);
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(chunk, 0, chunk.length);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(chunk.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
