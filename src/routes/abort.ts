import { setMaxListeners } from 'node:events';
import type { FastifyReply } from 'fastify';
import { ServiceError } from '../errors.js';

/**
 * Aborts when the client leaves before the answer is sent, and at the deadline. The reason is the ServiceError to answer
 * with. (Fastify's own `request.signal` fires as soon as a body has been read.)
 * @param deadlineAt on the clock of `performance.now()`
 * @param timeoutMs what the deadline came from, for the message
 */
export function requestSignal(reply: FastifyReply, deadlineAt: number, timeoutMs: number): AbortSignal {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // Every picture of the request has some.
  const timer = setTimeout(() => {
    const detail = `The request was not answered within the ${timeoutMs} ms allowed. Try again, or send fewer pictures at once.`;
    controller.abort(new ServiceError('deadline_exceeded', detail));
  }, deadlineAt - performance.now()).unref();
  reply.raw.once('close', () => {
    clearTimeout(timer);
    if (!reply.raw.writableFinished) {
      controller.abort(new ServiceError('client_closed_request', 'The client left before the answer was there.'));
    }
  });
  return controller.signal;
}

/** Settles as `work` does, but rejects with the signal's reason at once when that comes first. */
export function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort);
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
