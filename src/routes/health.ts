import type { FastifyReply, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import type { RouteDeps } from './deps.js';
import { sendProblem } from './problem.js';
import type { Route } from './route.js';

export function healthRoutes({ registry }: RouteDeps): Route[] {
  return [
    {
      method: 'GET',
      url: '/health/live',
      summary: 'Whether the process answers.',
      handler: () => ({ live: true }),
    },
    {
      method: 'GET',
      url: '/health/ready',
      summary: 'Whether every model is loaded and warm; 503 says which is not, and why.',
      handler: ready,
    },
  ];

  function ready(_request: FastifyRequest, reply: FastifyReply) {
    const models = registry.list().map(({ name, state, reason }) => ({ name, state, reason }));
    if (registry.ready) return { ready: true, models };
    const late = models
      .filter(({ state }) => state !== 'ready')
      .map(({ name, state, reason }) => `${name} is ${state}${reason === null ? '' : `: ${reason}`}`);
    return sendProblem(reply, new ServiceError('model_not_ready', late.join('; ')), { ready: false, models });
  }
}
