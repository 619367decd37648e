import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyBaseLogger } from 'fastify';
import { type ErrorCode, ServiceError } from '../errors.js';
import type { Metrics } from '../metrics.js';
import type { Connections } from './connections.js';
import { problemOf } from './problem.js';

/** An error of a socket, of Node's HTTP parser, or of its check for requests that are late. */
type ClientError = Error & { readonly code?: string };

/**
 * Answers what Node's HTTP server refuses by itself, and ends the connection: nothing that comes after it on the same
 * connection is read as a request. Requests that came whole before it are answered first.
 */
export function clientErrors(connections: Connections, metrics: Metrics, log: FastifyBaseLogger) {
  /** Node goes on telling of a connection whose bytes were refused. */
  const refused = new WeakSet<Socket>();

  return (error: ClientError, socket: Socket): void => {
    if (refused.has(socket)) return;
    refused.add(socket);
    if (!socket.writable || error.code === 'ECONNRESET' || error.code === 'EPIPE') {
      socket.destroy();
      return;
    }
    const problem = new ServiceError(...asProblem(error.code), { endsConnection: true });
    connections.endAfterThis(socket);
    const last = connections.exchanges(socket).at(-1);
    if (last === undefined && connections.isUnread(socket)) {
      socket.destroySoon();
      return;
    }
    if (last === undefined || last.request.raw.complete) {
      connections.whenIdle(socket, () => refuse(socket, problem, error.code));
      return;
    }
    // The body of the last request is at fault.
    const { record } = last.request;
    if (error.code === 'HPE_INVALID_EOF_STATE' || last.reply.sent || record.onBodyFault === undefined) {
      // The client has left, or was answered, or nobody reads its body.
      if (!last.reply.sent && connections.exchanges(socket).length === 1) writeProblem(socket, problem);
      else socket.destroySoon();
      return;
    }
    record.onBodyFault(problem);
  };

  /** Before there is a request. */
  function refuse(socket: Socket, problem: ServiceError, reason: string | undefined): void {
    if (!socket.writable) return;
    const { status, code } = problem;
    metrics.requests.inc({ route: '', model: '', status });
    metrics.errors.inc({ model: '', code });
    log.info({ status, code, reason }, 'connection refused');
    writeProblem(socket, problem);
  }
}

/** Writes a whole answer to a socket that has no request, and ends it. */
export function writeProblem(
  socket: Socket,
  error: ServiceError,
  headers: Readonly<Record<string, string>> = {},
): void {
  const problem = problemOf(error);
  const body = JSON.stringify(problem);
  const all = {
    ...headers,
    Date: new Date().toUTCString(),
    'Content-Type': 'application/problem+json; charset=utf-8',
    'X-Content-Type-Options': 'nosniff',
    'Content-Length': String(Buffer.byteLength(body)),
    Connection: 'close',
  };
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  const { status } = problem;
  if (socket.writable) socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head.join('')}\r\n${body}`);
  socket.destroySoon();
}

function asProblem(code: string | undefined): [ErrorCode, string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return ['headers_too_large', 'The URL and the headers together are larger than 16 KiB.'];
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return ['request_too_large', 'The extensions of a chunk are larger than 16 KiB.'];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['request_timeout', 'The request did not arrive within the time allowed.'];
    case 'HPE_INVALID_METHOD':
      return ['bad_request', 'This does not begin with a method of HTTP/1.1.'];
    default:
      return ['bad_request', 'This is not a request of HTTP/1.1.'];
  }
}
