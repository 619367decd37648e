import { Server } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import type { Connections } from './connections.js';
import { trackHandshakes } from './handshakes.js';
import { pathOf, toMicroseconds } from './record.js';

/**
 * - `leaving`: everything is answered, but /health/ready says no and each answer ends its connection, so that clients
 *   and balancers go elsewhere by themselves.
 * - `draining`: what is under way is answered, and anything new refused.
 */
type Phase = 'serving' | 'leaving' | 'draining';

/**
 * Once nothing more is listened for: how long what comes on the connections that there are is still answered. A client
 * cannot know by then that it came too late.
 */
const longestOnTheWayMs = 250;
/** Requests that are named when they are cut off. */
const mostNamed = 10;

/**
 * How the service leaves without anybody being cut off. Over HTTP/1.1 a server cannot end a kept-alive connection
 * safely: a request may be on its way. So each connection ends behind an answer that says so, and one is ended in
 * silence only when it was idle all the while.
 */
export class Drain {
  #phase: Phase = 'serving';
  #app: FastifyInstance | undefined;
  #connections: Connections | undefined;
  #endHandshakes = () => {};
  readonly #underWay = new Set<FastifyRequest>();
  #markIdle = () => {};
  /** Nothing is under way, and nothing will be. */
  readonly #idle = new Promise<void>((resolve) => {
    this.#markIdle = resolve;
  });

  get isLeaving(): boolean {
    return this.#phase !== 'serving';
  }

  attach(app: FastifyInstance, connections: Connections): void {
    this.#app = app;
    this.#connections = connections;
    this.#endHandshakes = trackHandshakes(app.server);
    app.addHook('onSend', (_request, reply, _payload, done) => {
      if (this.isLeaving) reply.header('connection', 'close');
      done();
    });
    // For an app that is closed without `stop`. By the immediate it no longer listens.
    app.addHook('preClose', async () => {
      this.#phase = 'draining';
      setImmediate(() => this.#endWhenIdle());
    });
    app.addHook('onClose', async () => await this.#idle);
  }

  /** At the arrival of a request. @returns what it is to be answered with instead, once the app drains */
  enter(request: FastifyRequest): ServiceError | undefined {
    this.#underWay.add(request);
    if (this.#phase !== 'draining') return undefined;
    return new ServiceError('shutting_down', 'The server is shutting down. Try again, on a new connection.');
  }

  /** When its answer was sent or its client has left. */
  exit(request: FastifyRequest): void {
    this.#underWay.delete(request);
    this.#endWhenIdle();
  }

  leave(): void {
    if (this.#phase === 'serving') this.#phase = 'leaving';
  }

  /**
   * Stops listening; settles when everything that came before is answered and each connection ended.
   * @param timeoutMs how long the caller will wait
   */
  async stop(timeoutMs: number): Promise<void> {
    this.leave();
    const server = this.#app?.server;
    if (server?.listening) {
      await quietTurn(server);
      // An HTTP server's own close() would end the idle connections with it.
      const allEnded = new Promise<void>((resolve) => Server.prototype.close.call(server, () => resolve()));
      await settledWithin(Math.min(longestOnTheWayMs, timeoutMs / 2), allEnded);
      await quietTurn(server);
      server.closeIdleConnections();
    }
    this.#phase = 'draining';
    this.#endWhenIdle();
    await this.#idle;
  }

  /** How many requests are under way, and which have been for longest. */
  unfinished() {
    const now = performance.now();
    const longest = [...this.#underWay].slice(0, mostNamed).map((request) => ({
      request_id: request.id,
      method: request.method,
      path: pathOf(request),
      age_ms: toMicroseconds(now - request.record.startedAt),
    }));
    return { requests: this.#underWay.size, longest };
  }

  /**
   * (Node itself waits for a connection that was silent from the start; and where Fastify listens on two addresses, for
   * "localhost", for the requests of one of them only.)
   */
  #endWhenIdle(): void {
    if (this.#phase !== 'draining' || this.#underWay.size > 0) return;
    this.#endHandshakes();
    void this.#connections?.endAll().then(this.#markIdle);
  }
}

/** The first may end before it has looked for connections: an immediate runs at the end of the turn that sets it. */
const quietTurns = 2;

/**
 * Resolves right behind turns of the event loop that found next to nothing to do, and no new connection (a turn takes
 * up one of those that wait). What the kernel had by then has been read; to close a socket before that resets it.
 */
async function quietTurn(server: Server): Promise<void> {
  let taken = 0;
  let quiet = 0;
  const onConnection = () => {
    taken++;
  };
  server.on('connection', onConnection);
  for (let turn = 0; turn < 200; turn++) {
    const [startedAt, before] = [performance.now(), taken];
    await new Promise((resolve) => setImmediate(resolve));
    quiet = taken === before && performance.now() - startedAt < 0.2 ? quiet + 1 : 0;
    if (quiet === quietTurns) break;
  }
  server.off('connection', onConnection);
}

async function settledWithin(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
