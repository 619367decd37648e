import type { FastifyReply, FastifyRequest } from 'fastify';
import type { RouteDeps } from './deps.js';
import type { Route } from './route.js';

export function metricsRoutes({ metrics, access, registry }: RouteDeps): Route[] {
  return [
    {
      method: 'GET',
      url: '/metrics',
      access: access.metrics,
      summary: 'Metrics in the text format of Prometheus.',
      handler: render,
    },
  ];

  async function render(_request: FastifyRequest, reply: FastifyReply): Promise<string> {
    reply.type(metrics.registry.contentType);
    metrics.predictedWait.reset();
    for (const model of registry.loaded) metrics.predictedWait.set({ model: model.name }, model.predictMs() / 1000);
    return await metrics.registry.metrics();
  }
}
