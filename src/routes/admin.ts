import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import type { ModelSummary } from '../model-registry/description.js';
import type { RouteDeps } from './deps.js';
import type { Route } from './route.js';

/** Loading and unloading, for those who have the token; without a token in the configuration there are no such routes. */
export function adminRoutes({ config, registry }: RouteDeps): Route[] {
  const { adminToken } = config;
  if (adminToken === undefined) return [];
  const expected = sha256(adminToken);
  return [
    {
      method: 'POST',
      url: '/models/:name/load',
      summary: 'Loads a model and answers once it is ready, or at once with ?wait=false. Needs the admin token.',
      handler: load,
    },
    {
      method: 'POST',
      url: '/models/:name/unload',
      summary: 'Answers the pictures that wait for a model and takes it out of memory. Needs the admin token.',
      handler: unload,
    },
  ];

  async function load(request: FastifyRequest, reply: FastifyReply): Promise<ModelSummary> {
    authorize(request, reply);
    const { wait = 'true' } = readQuery(request, ['wait']);
    if (wait !== 'true' && wait !== 'false') {
      const detail = `wait is ${JSON.stringify(wait).slice(0, 100)}; allowed is true or false.`;
      throw new ServiceError('bad_request', detail);
    }
    const name = modelOf(request);
    const loading = registry.load(name);
    if (wait === 'true') {
      // Why it failed is told as /classify would tell it; the log has the whole error.
      await loading.catch(rethrowOwn);
      registry.get(name);
    } else {
      loading.catch(() => undefined);
    }
    const summary = registry.summary(name);
    if (summary.state !== 'ready') reply.code(202);
    return summary;
  }

  async function unload(request: FastifyRequest, reply: FastifyReply): Promise<ModelSummary> {
    authorize(request, reply);
    readQuery(request, []);
    const name = modelOf(request);
    await registry.unload(name);
    return registry.summary(name);
  }

  /** @throws ServiceError `unauthorized` */
  function authorize({ headers }: FastifyRequest, reply: FastifyReply): void {
    const [, token] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
    // Digests have one length, so that the time of the comparison tells nothing of the token.
    if (token !== undefined && timingSafeEqual(sha256(token), expected)) return;
    // RFC 6750, section 3.1: no error code where no token was sent.
    reply.header('www-authenticate', `Bearer realm="vgg-serve"${token === undefined ? '' : ', error="invalid_token"'}`);
    const seen = token === undefined ? 'There is no bearer token' : 'The bearer token is not the right one';
    throw new ServiceError('unauthorized', `${seen}: send "Authorization: Bearer TOKEN" with the admin token.`);
  }

  /** @throws ServiceError `unknown_model` */
  function modelOf({ params, record }: FastifyRequest): string {
    const { name } = registry.summary((params as { name: string }).name);
    record.model = name;
    return name;
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Errors that are meant for clients; others are forgotten here. */
function rethrowOwn(error: unknown): void {
  if (error instanceof ServiceError) throw error;
}

/** @throws ServiceError `unknown_query_parameter` */
function readQuery<Name extends string>(
  { query }: FastifyRequest,
  allowed: readonly Name[],
): Partial<Record<Name, string | string[]>> {
  const parameters = query as Partial<Record<Name, string | string[]>>;
  const unknown = Object.keys(parameters).find((name) => !allowed.includes(name as Name));
  if (unknown === undefined) return parameters;
  const detail = `There is no query parameter "${unknown.slice(0, 100)}"; allowed is ${allowed.join(' and ') || 'none'}.`;
  throw new ServiceError('unknown_query_parameter', detail);
}
