import { join } from 'node:path';
import type { Config } from '../config.js';
import { resolveModel } from '../model-registry/resolve.js';
import { type CatalogueEntry, fileName } from '../weights/catalogue.js';
import { HubError } from '../weights/hub-error.js';
import { checkpointsFolder, isThere } from '../weights/hub-folder.js';
import { weightsFetcher } from './fetch.js';

type Result =
  /** `fetched` is false for a file that was there already. */
  | { readonly name: string; readonly path: string; readonly fetched: boolean }
  | { readonly name: string; readonly error: string };

/** Fetches the weights of each name, one after the other. Answers the exit code: 1 if any did not come. */
export async function pull(config: Config<'pull'>, env: NodeJS.ProcessEnv): Promise<number> {
  // All names are read first: a wrong one is better known before half an hour of fetching.
  const models = await Promise.all(config.operands.map(resolveModel));
  const results: Result[] = [];
  for (const { name, source } of models) {
    if (source.kind === 'file') results.push({ name, path: source.path, fetched: false });
    else if (source.kind === 'hub') results.push(await pullEntry(name, source.entry, config, env));
    else results.push({ name, error: 'has no pretrained weights: there is nothing to fetch' });
    const last = results.at(-1);
    if (last !== undefined && !config.json) tell(last);
  }
  if (config.json) process.stdout.write(`${JSON.stringify({ results }, null, 2)}\n`);
  return results.some((result) => 'error' in result) ? 1 : 0;
}

async function pullEntry(
  name: string,
  entry: CatalogueEntry,
  config: Config<'pull'>,
  env: NodeJS.ProcessEnv,
): Promise<Result> {
  try {
    const fetched = !(await isThere(join(checkpointsFolder(env), fileName(entry))));
    const call = { signal: new AbortController().signal, report: () => undefined };
    return { name, path: await weightsFetcher(config, env)(entry, call), fetched };
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    return { name, error: error.message };
  }
}

function tell(result: Result): void {
  if ('error' in result) process.stderr.write(`vgg-serve: ${result.name}: ${result.error}\n`);
  else process.stdout.write(`${result.name}: ${result.path}${result.fetched ? '' : ' (was there already)'}\n`);
}
