import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import test, { type TestContext } from 'node:test';
import { dropBody } from '../../src/routes/drop-body.js';

/** A server that drops the bodies of /drop. @returns what came of each body, in the order of the requests' ends */
async function startServer(t: TestContext) {
  const ends: string[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    if (request.url === '/drop') dropBody(request);
    let bytes = 0;
    request.on('data', (chunk: Buffer) => (bytes += chunk.length));
    request.on('end', () => {
      ends.push(`${request.url} ${bytes}`);
      response.end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  return { ends, port: (server.address() as AddressInfo).port };
}

const request = (path: string, bytes: number) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n${'x'.repeat(bytes)}`;
const inChunks = (path: string) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`;

test('no byte of a dropped body is copied, and the request still ends; the next one is whole', async (t) => {
  const { ends, port } = await startServer(t);
  const socket = connect(port, '127.0.0.1');
  let answers = 0;
  socket.on('data', (chunk: Buffer) => (answers += chunk.toString('latin1').split('HTTP/1.1 200').length - 1));
  socket.end([request('/drop', 300_000), request('/keep', 5), inChunks('/drop'), inChunks('/keep')].join(''));
  await once(socket, 'close');
  assert.deepEqual(ends, ['/drop 0', '/keep 5', '/drop 0', '/keep 11']);
  assert.equal(answers, 4);
});

test('the parser of a connection that ends in a dropped body serves another one', async (t) => {
  const { ends, port } = await startServer(t);
  const leaving = connect(port, '127.0.0.1');
  leaving.end(request('/drop', 1000).slice(0, -500));
  leaving.resume();
  await once(leaving, 'close');
  for (let connection = 0; connection < 3; connection++) {
    const socket = connect(port, '127.0.0.1');
    socket.end(request('/keep', 100_000));
    socket.resume();
    await once(socket, 'close');
  }
  assert.deepEqual(ends, ['/keep 100000', '/keep 100000', '/keep 100000']);
});
