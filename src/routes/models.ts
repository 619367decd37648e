import type { RouteDeps } from './deps.js';
import type { Route } from './route.js';

export function modelRoutes({ registry }: RouteDeps): Route[] {
  return [
    {
      method: 'GET',
      url: '/models',
      summary: 'The models: state, size, accuracy, transforms, engine, precision.',
      handler: () => ({ models: registry.list() }),
    },
    {
      method: 'GET',
      url: '/models/:name',
      summary: "One model, also with categories, layers with their shapes, the engine's plan, and what PyTorch prints.",
      handler: ({ params }) => registry.describe((params as { name: string }).name),
    },
  ];
}
