/**
 * A process that serves one file over HTTP, for bench/pull.ts: Range and If-Range as they should be, but the first answer
 * ends after so many bytes. Sends its parent its origin, and then the first byte of each answer.
 */
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';

const [file = '', cutAfter = ''] = process.argv.slice(2);
const { size } = statSync(file);
const etag = `"${size}"`;
let isFirst = true;

const server = createServer(async ({ headers }, response) => {
  const asked = headers['if-range'] === etag ? /^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] : undefined;
  const start = Number(asked ?? 0);
  const end = isFirst ? Math.min(size, Number(cutAfter)) : size;
  isFirst = false;
  process.send?.(start);
  response.writeHead(asked === undefined ? 200 : 206, {
    etag,
    'content-length': size - start,
    ...(asked !== undefined && { 'content-range': `bytes ${start}-${size - 1}/${size}` }),
  });
  try {
    await pipeline(createReadStream(file, { start, end: end - 1 }), response, { end: false });
    if (end < size) response.destroy();
    else response.end();
  } catch {
    // The client is gone.
  }
});

server.listen(0, '127.0.0.1', () => process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
