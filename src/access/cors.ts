import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify';

/** What the pages of other origins may read, by the Fetch standard (section 3.2, CORS protocol). */
export interface Cors {
  addHeaders(request: FastifyRequest, reply: FastifyReply): void;
  /** A hook that answers a preflight, which bears no key, before keys are looked at. */
  answerPreflight(request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction): void;
}

const allowedHeaders = 'Content-Type, Authorization, X-API-Key, X-Request-Id, X-Request-Timeout-Ms';
const exposedHeaders = 'X-Request-Id, Server-Timing, Retry-After';
/** Chromium keeps a preflight's answer for no longer than two hours. */
const maxAgeSeconds = 7200;

/**
 * Cookies are never allowed (no Access-Control-Allow-Credentials): a key is sent by the page itself.
 * @param origins exact ones, or "*"
 * @returns undefined for no origins
 */
export function corsOf(origins: readonly string[]): Cors | undefined {
  if (origins.length === 0) return undefined;
  const all = origins.includes('*');

  const allowedOrigin = ({ headers: { origin } }: FastifyRequest) => {
    if (origin === undefined) return undefined;
    return all ? '*' : origins.find((allowed) => allowed === origin);
  };

  return {
    addHeaders(request, reply) {
      // Also without an origin: else a cache could hand an answer without headers to a page that needs them.
      if (!all) reply.header('vary', 'Origin');
      const allowed = allowedOrigin(request);
      if (allowed === undefined) return;
      reply.header('access-control-allow-origin', allowed);
      reply.header('access-control-expose-headers', exposedHeaders);
    },
    answerPreflight(request, reply, done) {
      const { method, headers } = request;
      const isPreflight = headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
      if (method !== 'OPTIONS' || !isPreflight) return done();
      if (allowedOrigin(request) !== undefined) {
        reply.removeHeader('access-control-expose-headers'); // Of no use here.
        reply.header('access-control-allow-methods', 'GET, HEAD, POST');
        reply.header('access-control-allow-headers', allowedHeaders);
        reply.header('access-control-max-age', maxAgeSeconds);
      }
      reply.code(204).send();
    },
  };
}
