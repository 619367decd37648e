import type { BatchLimits } from '../batching/batcher.js';
import type { Engine, EngineSpec, IsaChoice, Precision } from '../engines/engine.js';
import { stateDict } from '../network/state-dict.js';
import { hashPrefix } from '../weights/catalogue.js';
import { type Checkpoint, readCheckpoint } from '../weights/checkpoint.js';
import { asFloat32 } from '../weights/convert.js';
import { sha256OfFile } from '../weights/hash.js';
import { matchStateDict } from '../weights/match.js';
import { holdsNaN } from '../weights/not-a-number.js';
import { buildArchitecture } from './architecture.js';
import { type FetchWeights, type LoadCall, locateWeights } from './locate.js';
import type { Manifest } from './manifest.js';
import { Model } from './model.js';
import type { LoadTimes, RegistryObserver } from './observer.js';
import type { WeightsSource } from './source.js';

/** What it takes to load a model. */
export interface LoadDeps {
  /** `signal` ends a start that is under way. */
  readonly startEngine: (spec: EngineSpec, load: { model: string; signal: AbortSignal }) => Promise<Engine>;
  readonly limits: BatchLimits;
  /** Of each engine. */
  readonly threads: number;
  /** See EngineSpec. @default false */
  readonly prepack?: boolean;
  /** Of the models whose manifest says none. @default 'fp32' */
  readonly precision?: Precision;
  /** See EngineSpec. @default 'auto' */
  readonly isa?: IsaChoice;
  /** For weights that must be converted to float32 before an engine can read them. */
  readonly cacheDir: string;
  /** @default none: weights come from files that are here already */
  readonly fetchWeights?: FetchWeights;
  readonly observer?: RegistryObserver | undefined;
}

/**
 * Opens the weights, starts an engine on them, and hashes the file meanwhile; the model is ready when both are done.
 * @throws CheckpointError; what `fetchWeights` and `startEngine` throw; Error when the sha256 of the file is not the one
 *   that the manifest, or the name of a catalogue file, says, or when the classifier is NaN
 */
export async function loadModel(
  manifest: Manifest,
  deps: LoadDeps,
  call: LoadCall,
): Promise<{ model: Model; times: LoadTimes }> {
  const { transforms } = manifest;
  const { limits, threads, prepack = false, cacheDir, observer } = deps;
  const { signal, report } = call;
  signal.throwIfAborted();
  const startedAt = performance.now();
  const network = buildArchitecture(manifest.network);
  const path = await locateWeights(manifest, network, deps, call);
  const locatedAt = performance.now();
  report({ step: 'checking' });
  const checkpoint = await readCheckpoint(path);
  const entries = matchStateDict(stateDict(network), checkpoint);
  await checkHead(checkpoint, entries.at(-1)?.name ?? '');
  const indexedAt = performance.now();
  const tensors = await asFloat32(checkpoint, entries, cacheDir, signal);
  const convertedAt = performance.now();
  report({ step: 'starting' });
  const spec: EngineSpec = {
    layers: network.layers,
    inputSize: transforms.crop,
    classes: network.classes,
    mean: transforms.mean,
    std: transforms.std,
    tensors,
    maxBatchSize: limits.maxBatchSize,
    threads,
    prepack,
    precision: precisionOf(manifest, deps),
    isa: deps.isa ?? 'auto',
  };
  const [starting, hashing] = await Promise.allSettled([
    timed(deps.startEngine(spec, { model: manifest.name, signal })),
    timed(checkedSha256(path, manifest.source, signal)),
  ]);
  if (starting.status === 'rejected') throw starting.reason;
  const engine = starting.value.result;
  if (hashing.status === 'rejected') {
    await engine.close();
    throw hashing.reason;
  }
  const times: LoadTimes = {
    locate: locatedAt - startedAt,
    index: indexedAt - locatedAt,
    convert: convertedAt - indexedAt,
    engineStart: starting.value.ms,
    warmUp: engine.info.warmUpMs,
    hash: hashing.value.ms,
    total: performance.now() - startedAt,
  };
  const model = new Model({ manifest, network, sha256: hashing.value.result, engine }, limits, observer);
  return { model, times };
}

/** In which a model is computed. */
export function precisionOf(manifest: Manifest, { precision = 'fp32' }: Pick<LoadDeps, 'precision'>): Precision {
  return manifest.precision ?? precision;
}

async function timed<T>(work: Promise<T>): Promise<{ result: T; ms: number }> {
  const startedAt = performance.now();
  return { result: await work, ms: performance.now() - startedAt };
}

/** Refuses weights whose last bias holds NaN: so would every answer. */
async function checkHead(checkpoint: Checkpoint, lastBias: string): Promise<void> {
  if (!(await holdsNaN(checkpoint, lastBias))) return;
  throw new Error(
    `${checkpoint.path}: ${lastBias} holds NaN, so no picture can be classified: this is a feature extractor without a ` +
      'trained classifier, as IMAGENET1K_FEATURES is. Take weights that were trained to classify.',
  );
}

async function checkedSha256(path: string, source: WeightsSource, signal: AbortSignal): Promise<string> {
  const seen = await sha256OfFile(path, signal);
  if (source.kind === 'file' && source.sha256 !== undefined && source.sha256 !== seen) {
    throw new Error(
      `${path}: The sha256 is ${seen}, but the manifest says ${source.sha256}. Get the file again, or correct the manifest.`,
    );
  }
  if (source.kind === 'hub' && !seen.startsWith(hashPrefix(source.entry))) {
    throw new Error(
      `${path}: The sha256 is ${seen}, but by the file's name it begins with ${hashPrefix(source.entry)}. ` +
        'Delete the file, so that it is fetched again.',
    );
  }
  return seen;
}
