import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import { pathOf } from './record.js';

/** What no route answers. `OPTIONS *` asks what the server as a whole can do (RFC 9110, section 9.3.7). */
export function answerUnrouted(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (request.method === 'OPTIONS' && request.originalUrl === '*') {
    return reply.code(204).header('allow', 'GET, HEAD, POST, OPTIONS').send();
  }
  throw new ServiceError('not_found', `There is no ${request.method} ${pathOf(request)}. GET / lists what there is.`);
}

/** One thing that the service does. */
export interface Route {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  /** One line for GET /. */
  readonly summary: string;
  readonly handler: (request: FastifyRequest, reply: FastifyReply) => unknown;
}

/** Adds the routes; at each of their addresses any other method is answered with 405, and OPTIONS with what is allowed. */
export function addRoutes(app: FastifyInstance, routes: readonly Route[]): void {
  for (const { method, url, handler } of routes) app.route({ method, url, handler });

  for (const url of new Set(routes.map((route) => route.url))) {
    const own = routes.filter((route) => route.url === url).map((route) => route.method);
    // Fastify answers HEAD wherever it answers GET.
    const answered: string[] = own.includes('GET') ? [...own, 'HEAD'] : own;
    const allow = [...answered, 'OPTIONS'].join(', ');
    app.route({
      method: app.supportedMethods.filter((method) => !answered.includes(method)),
      url,
      handler: (request, reply) => {
        reply.header('allow', allow);
        if (request.method === 'OPTIONS') return reply.code(204).send();
        throw new ServiceError('method_not_allowed', `${request.method} is not allowed here; allowed are ${allow}.`);
      },
    });
  }
}
