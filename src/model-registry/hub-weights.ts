import { fetchWeights } from '../weights/hub.js';
import { checkpointsFolder } from '../weights/hub-folder.js';
import type { FetchWeights } from './locate.js';

export interface HubOptions {
  /** A mirror. */
  readonly weightsUrl: string | undefined;
  readonly offline: boolean;
}

/**
 * Weights of the catalogue out of torch's own cache folder, where they are fetched to if they are missing.
 * @param log takes a line for each retry, wait and resumption
 */
export function hubWeights(
  { weightsUrl, offline }: HubOptions,
  env: NodeJS.ProcessEnv,
  log: (line: string) => void,
): FetchWeights {
  const folder = checkpointsFolder(env);
  return async ({ url, meta }, { signal, report }) => {
    report({ step: 'fetching' });
    return await fetchWeights(url, {
      folder,
      baseUrl: weightsUrl,
      offline,
      expectedBytes: meta.file_size * 2 ** 20,
      signal,
      onProgress: ({ receivedBytes, totalBytes }) => report({ step: 'fetching', receivedBytes, totalBytes }),
      log,
    });
  };
}
