import { join } from 'node:path';
import type { CatalogueBuilder } from '../../src/weights/catalogue.js';
import { preloaded } from './command.js';

const catalogueUrl = new URL('../../src/weights/catalogue.js', import.meta.url).href;

/**
 * Settings under which the command takes a builder's default weights to be a file of the test, and keeps its files in
 * `dir`.
 * @param more code that is run before the command too
 */
export async function ownHub(
  dir: string,
  { builder, file }: { builder: CatalogueBuilder; file: string },
  more = '',
): Promise<NodeJS.ProcessEnv> {
  const module = `import { defaultEntry } from ${JSON.stringify(catalogueUrl)};
    defaultEntry(${JSON.stringify(builder)}).url = 'https://nowhere.invalid/models/${file}';
    ${more}`;
  return { TORCH_HOME: join(dir, 'torch'), ...(await preloaded(dir, module)) };
}
