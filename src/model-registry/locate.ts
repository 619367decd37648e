import type { CatalogueEntry } from '../weights/catalogue.js';
import type { Network } from './architecture.js';
import type { Manifest } from './manifest.js';
import type { LoadProgress } from './observer.js';
import { untrainedWeights } from './untrained.js';

/** One call of `loadModel`. */
export interface LoadCall {
  /** Ends the load, which then rejects soon; with what is up to the step that it was at. */
  readonly signal: AbortSignal;
  readonly report: (progress: LoadProgress) => void;
}

/** Gives the file with weights of the catalogue: finds it on this machine or fetches it, and reports `fetching`. */
export type FetchWeights = (entry: CatalogueEntry, call: LoadCall) => Promise<string>;

interface LocateDeps {
  readonly fetchWeights?: FetchWeights | undefined;
  readonly cacheDir: string;
}

/**
 * The path of the file with a model's weights, which is fetched or made first where that must be.
 * @throws what `fetchWeights` or the file system throws
 */
export async function locateWeights(
  { name, source, network: architecture }: Manifest,
  network: Network,
  { fetchWeights, cacheDir }: LocateDeps,
  call: LoadCall,
): Promise<string> {
  switch (source.kind) {
    case 'file':
      return source.path;
    case 'hub':
      if (fetchWeights === undefined) throw new Error(`${name} cannot be fetched here: only files are served.`);
      return await fetchWeights(source.entry, call);
    case 'untrained': {
      call.report({ step: 'fetching' });
      const linear = 'builder' in architecture ? 'torch' : 'normal';
      return await untrainedWeights(network, { linear, seed: source.seed, cacheDir, signal: call.signal });
    }
    default:
      return source satisfies never;
  }
}
