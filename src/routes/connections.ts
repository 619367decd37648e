import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';

/** A request that has arrived and whose answer has not been taken yet. */
export interface Exchange {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** When its answer was first seen to be ready and not taken; on the clock of `performance.now()`. */
  untakenSince?: number;
}

interface Connection {
  /** In the order in which they are answered. */
  readonly exchanges: Exchange[];
  /** The last request, if it was answered before all of its body had come. */
  unread?: IncomingMessage | undefined;
  /** Whether an answer that is under way will end it: what has come in behind is not done. */
  ends?: boolean;
  /** Called once, when no exchange is left. */
  whenIdle?: () => void;
  /** It has ended for the client, which may go on sending for a moment. */
  lingers?: boolean;
}

/** Requests that one connection may send ahead of their answers. */
export const mostPipelined = 64;

/** How long a client may go on sending to a connection that has ended for it. */
const lingerMs = 2000;

/** How soon after the end of a client's bytes it is asked whether it is still there; doubled from one time to the next. */
const firstProbeMs = 20;
const longestProbeMs = 1000;

/** The connections that are open, each with what is under way on it. */
export class Connections {
  readonly #open = new Map<Socket, Connection>();
  /** Called once, when no connection is left. */
  #whenNone: (() => void)[] = [];

  get size(): number {
    return this.#open.size;
  }

  /** @param onClose called when the connection is gone */
  add(socket: Socket, onClose: () => void): void {
    const connection: Connection = { exchanges: [] };
    this.#open.set(socket, connection);
    const destroySoon = socket.destroySoon.bind(socket);
    // Node ends connections by this method, and so do we.
    socket.destroySoon = () => {
      if (!connection.ends && !awaitsBody(connection)) destroySoon();
      else if (socket.writable) {
        connection.lingers = true;
        linger(socket, destroySoon);
      }
    };
    socket.on('end', () => probe(socket, connection.exchanges));
    socket.on('close', () => {
      onClose();
      // After Node's own listener, which closes the answer that has its turn.
      process.nextTick(() => {
        closeRest(connection.exchanges);
        this.#open.delete(socket);
        if (this.#open.size === 0) for (const done of this.#whenNone.splice(0)) done();
      });
    });
  }

  /**
   * At the arrival of a request.
   * @param refusal what it is to be answered with instead, if that is known
   * @returns that, or the same if too many requests wait on its connection
   */
  begin(request: FastifyRequest, reply: FastifyReply, refusal: ServiceError | undefined): ServiceError | undefined {
    const connection = this.#open.get(request.raw.socket);
    if (connection === undefined) return refusal; // A request that came over no socket.
    const { exchanges } = connection;
    connection.unread = undefined;
    exchanges.push({ request, reply });
    if (connection.ends) return new ServiceError('bad_request', 'The connection ends with an earlier request.');
    connection.ends = refusal?.endsConnection === true || exchanges.length > mostPipelined;
    if (refusal !== undefined || !connection.ends) return refusal;
    const detail = `More than ${mostPipelined} requests wait on this connection. Await some answers before you send more.`;
    return new ServiceError('queue_full', detail, { endsConnection: true });
  }

  /** When the answer was taken or the client has left. @param socket of the request; an answered one has it no more */
  end(request: FastifyRequest, socket: Socket): void {
    const connection = this.#open.get(socket);
    if (connection === undefined) return;
    const { exchanges } = connection;
    const at = exchanges.findIndex((exchange) => exchange.request === request);
    if (at >= 0) exchanges.splice(at, 1);
    if (!request.raw.complete) connection.unread = request.raw;
    if (exchanges.length === 0) connection.whenIdle?.();
  }

  /** What is under way on a connection, in the order of the answers. */
  exchanges(socket: Socket): readonly Exchange[] {
    return this.#open.get(socket)?.exchanges ?? [];
  }

  /** The connection ends with what is under way, and what comes in behind that is not done. */
  endAfterThis(socket: Socket): void {
    const connection = this.#open.get(socket);
    if (connection !== undefined) connection.ends = true;
  }

  /** Whether the body of a request that was answered already still comes in. */
  isUnread(socket: Socket): boolean {
    return this.#open.get(socket)?.unread?.complete === false;
  }

  /** Does something once what is under way on a connection has been answered. */
  whenIdle(socket: Socket, act: () => void): void {
    const connection = this.#open.get(socket);
    if (connection === undefined || connection.exchanges.length === 0) act();
    else connection.whenIdle = act;
  }

  /** Ends all connections. Resolves when none is left: one that lingers ends by itself. */
  async endAll(): Promise<void> {
    for (const [socket, { lingers }] of this.#open) if (!lingers) socket.destroy();
    if (this.#open.size > 0) await new Promise<void>((resolve) => this.#whenNone.push(resolve));
  }

  /** Ends the connections whose client has not taken an answer for `limitMs`: what it holds of it stays in memory. */
  endUntaken(limitMs: number): void {
    const now = performance.now();
    for (const [socket, { exchanges }] of this.#open) {
      const [first] = exchanges;
      if (first === undefined || !first.reply.raw.writableEnded) continue;
      first.untakenSince ??= now;
      if (now - first.untakenSince > limitMs) socket.destroy();
    }
  }
}

function awaitsBody({ exchanges, unread }: Connection): boolean {
  return unread?.complete === false || exchanges.some(({ request }) => !request.raw.complete);
}

/**
 * Ends our side, and drops what a client still sends until it ends its own: were the socket closed at once, the client's
 * machine would be told of a reset and throw away the answer that the client has not read yet (RFC 9112, section 9.6).
 */
function linger(socket: Socket, destroySoon: () => void): void {
  socket.end();
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.on('close', () => clearTimeout(timer));
  if (socket.readableEnded) destroySoon();
  else socket.on('end', destroySoon);
  if (socket.isPaused()) return; // For a flood of requests: then nothing is read any more.
  // Takes the bytes away from the parser of HTTP.
  socket.removeAllListeners('data');
  socket.on('data', () => {});
}

/** Node closes the answer that has its turn when the socket closes, and forgets those that wait behind it. */
function closeRest(exchanges: readonly Exchange[]): void {
  for (const { reply } of [...exchanges]) reply.raw.emit('close');
}

/**
 * A client that has ended its side may wait for its answer, or may be gone: TCP tells only one that writes. So it is sent
 * "100 Continue", which every client of HTTP/1.1 must be able to read and to forget (RFC 9110, section 15.2), until it is
 * answered or its machine says that nobody is there: then the socket closes, and what it asked for is given up.
 */
function probe(socket: Socket, exchanges: readonly Exchange[], afterMs = firstProbeMs): void {
  if (exchanges.length === 0 || socket.destroyed) return;
  const timer = setTimeout(() => {
    const [first] = exchanges;
    if (first === undefined || socket.destroyed) return;
    const { request, reply } = first;
    if (request.raw.httpVersion === '1.1' && !reply.raw.headersSent) reply.raw.writeContinue();
    probe(socket, exchanges, Math.min(2 * afterMs, longestProbeMs));
  }, afterMs);
  timer.unref();
}
