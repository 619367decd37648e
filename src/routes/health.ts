import type { FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import type { ProgressSummary } from '../model-registry/description.js';
import type { RouteDeps } from './deps.js';
import { sendProblem } from './problem.js';
import type { Route } from './route.js';

export function healthRoutes({ registry, drain }: RouteDeps): Route[] {
  return [
    {
      method: 'GET',
      url: '/health/live',
      access: 'free',
      summary: 'Whether the process answers.',
      handler: () => ({ live: true }),
    },
    {
      method: 'GET',
      url: '/health/ready',
      access: 'free',
      summary:
        'Whether every model is loaded and has an engine; 503 says which has not, why. Not those unloaded on request.',
      handler: ready,
    },
  ];

  function ready(_request: FastifyRequest, reply: FastifyReply) {
    const models = registry.list().map(({ name, state, reason, progress }) => ({ name, state, reason, progress }));
    if (drain.isLeaving) {
      const detail = 'The server is shutting down: send new requests elsewhere.';
      return sendProblem(reply, new ServiceError('shutting_down', detail), { ready: false, models });
    }
    if (registry.ready) return { ready: true, models };
    const late = models
      .filter(({ state, reason }) => state !== 'ready' || reason !== null)
      .map(({ name, state, reason, progress }) => {
        if (state === 'ready') return `${name} has ${reason}`;
        const more = reason ?? (progress && inWords(progress));
        return `${name} is ${state}${more === null ? '' : `: ${more}`}`;
      });
    return sendProblem(reply, new ServiceError('model_not_ready', late.join('; ')), { ready: false, models });
  }
}

function inWords({ step, received_bytes: received, total_bytes: total }: ProgressSummary): string {
  if (step !== 'fetching' || received === null) return step;
  const inMegabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  const of = total === null ? '' : ` of ${inMegabytes(total)}`;
  return `${step}, ${inMegabytes(received)}${of} MB`;
}
