import { resolve } from 'node:path';
import type { BatchLimits } from '../batching/policy.js';
import type { Engine, EngineSpec, IsaChoice, Precision } from '../engines/engine.js';
import { type FileStamp, refuseReplaced, stampOf } from '../engines/file-stamp.js';
import { stateDict } from '../network/state-dict.js';
import type { TensorSource } from '../tensor.js';
import { hashPrefix } from '../weights/catalogue.js';
import { type Checkpoint, readCheckpoint } from '../weights/checkpoint.js';
import { asFloat32 } from '../weights/convert.js';
import { sha256OfFile } from '../weights/hash.js';
import { matchStateDict } from '../weights/match.js';
import { holdsNaN } from '../weights/not-a-number.js';
import { type Agreement, agreementOf, logitsOf, type Reference } from './agreement.js';
import { buildArchitecture } from './architecture.js';
import { type FetchWeights, type LoadCall, locateWeights } from './locate.js';
import type { Manifest } from './manifest.js';
import { Model } from './model.js';
import type { LoadTimes, RegistryObserver } from './observer.js';
import type { Samples } from './samples.js';
import type { WeightsSource } from './source.js';

type StartEngine = (spec: EngineSpec, load: { model: string; signal: AbortSignal }) => Promise<Engine>;

/** What it takes to compare a model of another precision with fp32. */
export interface CompareDeps {
  readonly samples: (manifest: Manifest, signal: AbortSignal) => Promise<Samples>;
  /** The same network in fp32 (`referenceSpec`) on an engine of the kind that `spec` will run on. */
  readonly startReference: StartEngine;
}

/** What it takes to load a model. */
export interface LoadDeps {
  /** `signal` ends a start that is under way. */
  readonly startEngine: StartEngine;
  /** @default none: other precisions are not compared with fp32 */
  readonly compare?: CompareDeps | undefined;
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
  /** After how long a model whose engine has given up is loaded again; 0: never. @default 0 */
  readonly engineRetryMs?: number;
  /** @default none: weights come from files that are here already */
  readonly fetchWeights?: FetchWeights;
  readonly observer?: RegistryObserver | undefined;
}

/**
 * Opens the weights, starts an engine on them, and hashes the file meanwhile; the model is ready when both are done, and
 * when a precision other than fp32 has been compared with it.
 * @throws CheckpointError; what `fetchWeights` and `startEngine` throw; Error when the sha256 of the file is not the one
 *   that the manifest, or the name of a catalogue file, says, or when the classifier is NaN
 */
export async function loadModel(
  manifest: Manifest,
  deps: LoadDeps,
  call: LoadCall,
): Promise<{ model: Model; times: LoadTimes; agreement: Agreement | Error | undefined }> {
  const { transforms } = manifest;
  const { limits, threads, prepack = false, cacheDir, observer } = deps;
  const { signal, report } = call;
  signal.throwIfAborted();
  const startedAt = performance.now();
  const network = buildArchitecture(manifest.network);
  const path = await locateWeights(manifest, network, deps, call);
  const locatedAt = performance.now();
  report({ step: 'checking' });
  // Before the index is read: whatever comes under this name later, nothing but this file is served.
  const stamp = await stampOf(resolve(path)).catch(() => undefined);
  const checkpoint = await readCheckpoint(path);
  const entries = matchStateDict(stateDict(network), checkpoint);
  await checkHead(checkpoint, entries.at(-1)?.name ?? '');
  const indexedAt = performance.now();
  const tensors = await asFloat32(checkpoint, entries, cacheDir, signal);
  const files = await withConverted(stamp, tensors);
  const convertedAt = performance.now();
  const spec: EngineSpec = {
    layers: network.layers,
    inputSize: transforms.crop,
    classes: network.classes,
    mean: transforms.mean,
    std: transforms.std,
    tensors,
    files,
    maxBatchSize: limits.maxBatchSize,
    threads,
    prepack,
    precision: precisionOf(manifest, deps),
    isa: deps.isa ?? 'auto',
  };
  const [starting, hashing] = await Promise.allSettled([
    startCompared(spec, manifest, deps, call),
    timed(checkedSha256(path, manifest.source, signal).finally(() => refuseReplaced(files))),
  ]);
  if (starting.status === 'rejected') throw starting.reason;
  const { engine, agreement, engineStart, agreementMs } = starting.value;
  if (hashing.status === 'rejected') {
    await engine.close();
    throw hashing.reason;
  }
  const times: LoadTimes = {
    locate: locatedAt - startedAt,
    index: indexedAt - locatedAt,
    convert: convertedAt - indexedAt,
    agreement: agreementMs,
    engineStart,
    warmUp: engine.info.warmUpMs,
    hash: hashing.value.ms,
    total: performance.now() - startedAt,
  };
  const sha256 = hashing.value.result;
  const measured = agreement instanceof Error ? undefined : agreement;
  const model = new Model({ manifest, network, sha256, engine, agreement: measured }, limits, observer);
  return { model, times, agreement };
}

/** Those of the files in the cache are taken now: they have just been read or written. */
async function withConverted(
  checkpoint: FileStamp | undefined,
  tensors: readonly TensorSource[],
): Promise<FileStamp[]> {
  const converted = new Set(tensors.map(({ path }) => path).filter((path) => path !== checkpoint?.path));
  return [...(checkpoint ? [checkpoint] : []), ...(await Promise.all([...converted].map(stampOf)))];
}

/**
 * Starts the engine. In another precision than fp32 the sample pictures are run in fp32 first, by an engine that has ended
 * when this one starts: the memory of both is never taken at once, and no request is kept waiting by the comparison.
 */
async function startCompared(spec: EngineSpec, manifest: Manifest, { startEngine, compare }: LoadDeps, call: LoadCall) {
  const { signal, report } = call;
  const isCompared = spec.precision !== 'fp32' && compare !== undefined;
  const { result: reference, ms: referenceMs } = await timed(
    isCompared ? askReference(spec, manifest, compare, call) : undefined,
  );
  report({ step: 'starting' });
  const { result: engine, ms: engineStart } = await timed(startEngine(spec, { model: manifest.name, signal }));
  if (reference === undefined || reference instanceof Error) return { engine, agreement: reference, engineStart };
  try {
    const { result: logits, ms } = await timed(logitsOf(engine, spec, reference.samples.pictures, signal));
    return { engine, agreement: agreementOf(reference, logits), engineStart, agreementMs: referenceMs + ms };
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** Why it failed, if it did: that is no reason not to serve. Rejects when the load is given up. */
async function askReference(
  spec: EngineSpec,
  manifest: Manifest,
  { samples: read, startReference }: CompareDeps,
  { signal, report }: LoadCall,
): Promise<Reference | Error> {
  report({ step: 'comparing' });
  try {
    const samples = await read(manifest, signal);
    const engine = await startReference(spec, { model: manifest.name, signal });
    try {
      return { samples, logits: await logitsOf(engine, spec, samples.pictures, signal) };
    } finally {
      await engine.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    return error as Error;
  }
}

/** In which a model is computed. */
export function precisionOf(manifest: Manifest, { precision = 'fp32' }: Pick<LoadDeps, 'precision'>): Precision {
  return manifest.precision ?? precision;
}

async function timed<T>(work: Promise<T> | T): Promise<{ result: T; ms: number }> {
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
