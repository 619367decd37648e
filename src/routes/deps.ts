import type { Access } from '../access/access.js';
import type { Config } from '../config.js';
import type { Metrics } from '../metrics.js';
import type { ModelRegistry } from '../model-registry/registry.js';
import type { Preprocessor } from '../preprocessing/preprocessor.js';
import type { Drain } from './drain.js';

/** What the routes work with. */
export interface RouteDeps {
  readonly config: Config;
  readonly access: Access;
  readonly registry: ModelRegistry;
  readonly preprocessor: Preprocessor;
  readonly metrics: Metrics;
  readonly drain: Drain;
}
