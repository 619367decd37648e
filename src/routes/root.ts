import { readFileSync } from 'node:fs';
import type { RouteDeps } from './deps.js';
import type { Route } from './route.js';

/** GET /, which lists `routes` and itself. */
export function withRootRoute(routes: readonly Route[], { registry, access }: RouteDeps): Route[] {
  const { name, version } = readPackage();
  const root: Route = {
    method: 'GET',
    url: '/',
    page: true,
    summary: 'This list.',
    handler: () => ({
      name,
      version,
      endpoints: all
        .filter((route) => route.access !== 'admin' || access.keyring.hasAdmin)
        .map(({ method, url, summary }) => ({ method, path: url, summary })),
      models: registry.list().map((model) => ({ name: model.name, state: model.state })),
    }),
  };
  const all = [root, ...routes];
  return all;
}

function readPackage(): { name: string; version: string } {
  return JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
}
