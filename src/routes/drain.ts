import type { FastifyInstance } from 'fastify';
import { ServiceError } from '../errors.js';
import { trackHandshakes } from './handshakes.js';

/** Counts the requests under way. */
export interface Drain {
  /** At the arrival of a request. @returns what it is to be answered with instead, once the app closes */
  enter(): ServiceError | undefined;
  /** When its answer was sent or its client has left. */
  leave(): void;
}

/**
 * What happens to connections once the app is told to close: requests under way are answered and their connections
 * ended, requests that still come in are refused, and a connection on which nothing is under way does not hold up the
 * end. (Node itself ends kept-alive connections between two requests, but waits for one that was silent from the start;
 * and where Fastify listens on two addresses, for "localhost", it waits for the requests of one of them only.)
 */
export function drainOnClose(app: FastifyInstance): Drain {
  let closing = false;
  let inFlight = 0;
  let markIdle = () => {};
  const idle = new Promise<void>((resolve) => {
    markIdle = resolve;
  });
  const endHandshakes = trackHandshakes(app.server);
  const endWhenIdle = () => {
    if (!closing || inFlight > 0) return;
    app.server.closeAllConnections();
    endHandshakes();
    markIdle();
  };

  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing) reply.header('connection', 'close');
    done();
  });
  app.addHook('preClose', async () => {
    closing = true;
    // By then the app no longer listens.
    setImmediate(endWhenIdle);
  });
  app.addHook('onClose', async () => await idle);

  return {
    enter() {
      inFlight++;
      if (!closing) return undefined;
      return new ServiceError('shutting_down', 'The server is shutting down. Try again, on a new connection.');
    },
    leave() {
      inFlight--;
      endWhenIdle();
    },
  };
}
