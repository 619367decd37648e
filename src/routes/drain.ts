import type { FastifyInstance } from 'fastify';
import { ServiceError } from '../errors.js';

/**
 * What happens to connections once the app is told to close: requests under way are answered and their connections
 * ended, requests that still come in are refused, and a connection on which nothing is under way does not hold up the
 * end. (Node itself ends kept-alive connections between two requests, but waits for one that was silent from the start;
 * and where Fastify listens on two addresses, for "localhost", it waits for the requests of one of them only.)
 */
export function drainOnClose(app: FastifyInstance): void {
  let closing = false;
  let inFlight = 0;
  let markIdle = () => {};
  const idle = new Promise<void>((resolve) => {
    markIdle = resolve;
  });
  const endWhenIdle = () => {
    if (!closing || inFlight > 0) return;
    app.server.closeAllConnections();
    markIdle();
  };

  app.addHook('onRequest', async (_request, reply) => {
    inFlight++;
    reply.raw.once('close', () => {
      inFlight--;
      endWhenIdle();
    });
    if (closing)
      throw new ServiceError('shutting_down', 'The server is shutting down. Try again, on a new connection.');
  });
  app.addHook('onSend', async (_request, reply) => {
    if (closing) reply.header('connection', 'close');
  });
  app.addHook('preClose', async () => {
    closing = true;
    // By then the app no longer listens.
    setImmediate(endWhenIdle);
  });
  app.addHook('onClose', async () => await idle);
}
