import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { serverOptions, type TlsPair } from '../access/tls.js';
import type { Config } from '../config.js';
import { type ErrorCode, ServiceError } from '../errors.js';
import type { Metrics } from '../metrics.js';
import { writeProblem } from './client-error.js';
import type { Connections } from './connections.js';

type Limits = Pick<Config, 'headersTimeoutMs' | 'bodyTimeoutMs' | 'keepAliveTimeoutMs' | 'maxConnections'>;

/** Of the URL and the headers together. Node drops further headers than 2,000 in silence: here the bytes alone count. */
const maxHeaderSize = 16 * 1024;

/**
 * Node looks for requests that are late only now and then, by itself every 30 s: a limit holds to a tenth of it, or to a
 * second where that is less.
 */
export function checkingIntervalMs({ headersTimeoutMs, bodyTimeoutMs }: Limits): number {
  return Math.min(1000, Math.max(10, Math.floor(Math.min(headersTimeoutMs, bodyTimeoutMs) / 10)));
}

/** Makes Node's server with its limits. It does not listen. */
export function httpServer(limits: Limits, connections: Connections, metrics: Metrics, tls?: TlsPair) {
  return (handler: RequestListener): Server => {
    const options = {
      headersTimeout: limits.headersTimeoutMs,
      // Of the whole request. Below headersTimeout Node would refuse it; the options are checked for that.
      requestTimeout: limits.bodyTimeoutMs,
      connectionsCheckingInterval: checkingIntervalMs(limits),
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      maxHeaderSize,
      insecureHTTPParser: false,
      // Node answers a request without Host by itself, with no body. Ours is in refuseHead.
      requireHostHeader: false,
    };
    const server: Server = tls
      ? createTlsServer({ ...options, ...serverOptions(tls) }, handler)
      : createServer(options, handler);
    server.maxConnections = limits.maxConnections;
    server.maxHeadersCount = 0;
    // A client that sends its request and then the end of its bytes is answered. Node's types do not know the property.
    Object.assign(server, { httpAllowHalfOpen: true });

    // Of TLS: once the handshake is done.
    server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
      metrics.connections.inc();
      connections.add(socket, () => metrics.connections.dec());
    });
    server.on('drop', () => metrics.connectionsDropped.inc());
    // The body is asked for when its head has been found good: by the one that reads it.
    server.on('checkContinue', handler);
    server.on('checkExpectation', handler);
    server.on('connect', refuseTunnel);

    const sweep = setInterval(() => connections.endUntaken(limits.bodyTimeoutMs), checkingIntervalMs(limits)).unref();
    server.on('close', () => clearInterval(sweep));
    return server;
  };

  function refuseTunnel(_request: IncomingMessage, socket: Socket): void {
    socket.on('error', () => socket.destroy()); // Node has taken its own listener away.
    connections.endAfterThis(socket);
    if (connections.exchanges(socket).length > 0) socket.destroySoon();
    else
      writeProblem(socket, new ServiceError('method_not_allowed', 'This server is no proxy.'), { Allow: 'GET, POST' });
  }
}

/**
 * What a request is refused for by its head alone, whatever it asks for.
 * @returns undefined for nothing
 */
export function refuseHead(head: IncomingMessage): ServiceError | undefined {
  const fault = faultOfHead(head);
  return fault && new ServiceError(...fault, { endsConnection: true });
}

function faultOfHead({ headers, rawHeaders, httpVersion }: IncomingMessage): [ErrorCode, string] | undefined {
  if (httpVersion !== '1.1') {
    if (httpVersion !== '1.0') return ['bad_request', `HTTP/${httpVersion} is not spoken here; HTTP/1.1 is.`];
    // RFC 9112, section 6.1: such framing is faulty, and a proxy of HTTP/1.0 before us has not understood it.
    if (headers['transfer-encoding'] === undefined) return undefined;
    return ['bad_request', 'Transfer-Encoding is not of HTTP/1.0. Send Content-Length.'];
  }
  // Of several, Node shows the first.
  const hosts = rawHeaders.filter((name, at) => at % 2 === 0 && name.length === 4 && name.toLowerCase() === 'host');
  if (hosts.length > 1) return ['bad_request', `The request has ${hosts.length} Host headers; allowed is one.`];
  if (headers.host === undefined) return ['bad_request', 'A request of HTTP/1.1 needs a Host header.'];
  if (headers.expect === undefined || /^100-continue$/i.test(headers.expect)) return undefined;
  const detail = `Expect is ${JSON.stringify(headers.expect.slice(0, 100))}; all that can be met is 100-continue.`;
  return ['expectation_failed', detail];
}

/** The path and query of a request's target. One in absolute form (RFC 9112, section 3.2.2) also names scheme and host. */
export function targetOf({ url = '/' }: IncomingMessage): string {
  if (url.charCodeAt(0) === 47) return url;
  // The router would take it for "/".
  if (url === '*') return '/*';
  const [origin] = /^https?:\/\/[^/?#]*/i.exec(url) ?? [];
  if (origin === undefined) return url;
  const rest = url.slice(origin.length);
  return rest.startsWith('/') ? rest : `/${rest}`;
}
