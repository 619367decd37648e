import type { Readable } from 'node:stream';

const mostChunks = 16;

/**
 * The chunks of a stream, taken from it as they come and handed out when they are asked for: a stream that breaks off
 * throws away what it still holds. Taking starts with the call.
 */
export function chunksOf(body: Readable): AsyncIterable<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let end: { error?: Error } | undefined;
  let wake = () => {};
  body.on('data', (chunk: Uint8Array) => {
    chunks.push(chunk);
    if (chunks.length >= mostChunks) body.pause();
    wake();
  });
  body.on('end', () => {
    end ??= {};
    wake();
  });
  body.on('error', (error) => {
    end ??= { error };
    wake();
  });

  return {
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const chunk = chunks.shift();
        if (chunk !== undefined) yield chunk;
        else if (end?.error !== undefined) throw end.error;
        else if (end !== undefined) return;
        else {
          const next = new Promise<void>((resolve) => {
            wake = resolve;
          });
          body.resume();
          await next;
        }
      }
    },
  };
}
