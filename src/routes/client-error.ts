import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { ServiceError } from '../errors.js';
import { problemOf } from './problem.js';

/** Answers what Node's HTTP parser refuses, before there is a request, and ends the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  // After an answer has begun, a second one would be read as part of it.
  if (socket.writable && socket.bytesWritten === 0) {
    const problem = problemOf(asServiceError(error.code));
    const body = JSON.stringify(problem);
    const head = [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
      'Content-Type: application/problem+json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  }
  socket.destroySoon();
}

function asServiceError(code: string | undefined): ServiceError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ServiceError('headers_too_large', 'The URL and the headers together are larger than 16 KiB.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ServiceError('request_timeout', 'The request did not arrive within the time allowed.');
    default:
      return new ServiceError('bad_request', 'This is not a request of HTTP/1.1.');
  }
}
