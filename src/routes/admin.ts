import type { FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import type { ModelSummary } from '../model-registry/description.js';
import type { RouteDeps } from './deps.js';
import type { Route } from './route.js';

/** Loading and unloading, for those who have the admin token or an admin key; while nobody has, they are not there. */
export function adminRoutes({ registry }: RouteDeps): Route[] {
  return [
    {
      method: 'POST',
      url: '/models/:name/load',
      access: 'admin',
      summary:
        'Loads a model and answers once it is ready, or at once with ?wait=false. Needs the admin token or an admin key.',
      handler: load,
    },
    {
      method: 'POST',
      url: '/models/:name/unload',
      access: 'admin',
      summary:
        'Answers the pictures that wait for a model and takes it out of memory. Needs the admin token or an admin key.',
      handler: unload,
    },
  ];

  async function load(request: FastifyRequest, reply: FastifyReply): Promise<ModelSummary> {
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

  async function unload(request: FastifyRequest): Promise<ModelSummary> {
    readQuery(request, []);
    const name = modelOf(request);
    await registry.unload(name);
    return registry.summary(name);
  }

  /** @throws ServiceError `unknown_model` */
  function modelOf({ params, record }: FastifyRequest): string {
    const { name } = registry.summary((params as { name: string }).name);
    record.model = name;
    return name;
  }
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
