import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';
import { addPageHeaders } from '../access/security-headers.js';
import { ServiceError } from '../errors.js';
import type { GuardsOf, RouteAccess } from './guard.js';
import { notFound } from './not-found.js';

/** What no route answers. `OPTIONS *` asks what the server as a whole can do (RFC 9110, section 9.3.7). */
export function answerUnrouted(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (request.method === 'OPTIONS' && request.originalUrl === '*') {
    return reply.code(204).header('allow', 'GET, HEAD, POST, OPTIONS').send();
  }
  throw notFound(request);
}

/** One thing that the service does. */
export interface Route {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  /** One line for GET /. */
  readonly summary: string;
  /** Without it: a key where there is a file of keys, else nothing. */
  readonly access?: RouteAccess;
  /** Whether a person opens it in a browser. */
  readonly page?: true;
  readonly handler: (request: FastifyRequest, reply: FastifyReply) => unknown;
}

/** Adds the routes; at each of their addresses any other method is answered with 405, and OPTIONS with what is allowed. */
export function addRoutes(app: FastifyInstance, routes: readonly Route[], guardsOf: GuardsOf): void {
  for (const { method, url, access, page, handler } of routes) {
    app.route({ method, url, onRequest: [...(page ? [pageHeaders] : []), ...guardsOf(access)], handler });
  }

  for (const url of new Set(routes.map((route) => route.url))) {
    const here = routes.filter((route) => route.url === url);
    const own = here.map(({ method }) => method);
    // Fastify answers HEAD wherever it answers GET.
    const answered: string[] = own.includes('GET') ? [...own, 'HEAD'] : own;
    const allow = [...answered, 'OPTIONS'].join(', ');
    app.route({
      method: app.supportedMethods.filter((method) => !answered.includes(method)),
      url,
      onRequest: guardsOf(here[0]?.access),
      handler: (request, reply) => {
        reply.header('allow', allow);
        if (request.method === 'OPTIONS') return reply.code(204).send();
        throw new ServiceError('method_not_allowed', `${request.method} is not allowed here; allowed are ${allow}.`);
      },
    });
  }
}

const pageHeaders: onRequestHookHandler = (_request, reply, done) => {
  addPageHeaders(reply);
  done();
};
