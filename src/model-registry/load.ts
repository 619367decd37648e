import type { BatchLimits } from '../batching/batcher.js';
import type { Engine, EngineSpec } from '../engines/engine.js';
import { buildNetwork, stateDict } from '../vgg/network.js';
import { readCheckpoint } from '../weights/checkpoint.js';
import { asFloat32 } from '../weights/convert.js';
import { sha256OfFile } from '../weights/hash.js';
import { matchStateDict } from '../weights/match.js';
import type { Manifest } from './manifest.js';
import { Model } from './model.js';
import type { RegistryObserver } from './observer.js';

/** What it takes to load a model. */
export interface LoadDeps {
  readonly startEngine: (spec: EngineSpec) => Promise<Engine>;
  readonly limits: BatchLimits;
  /** Of each engine. */
  readonly threads: number;
  /** For weights that must be converted to float32 before an engine can read them. */
  readonly cacheDir: string;
  readonly observer?: RegistryObserver | undefined;
}

/**
 * Opens the weights, starts an engine on them, and hashes the file meanwhile; the model is ready when both are done.
 * @throws CheckpointError; what `startEngine` throws; Error when the sha256 of the file is not the one in the manifest
 */
export async function loadModel(manifest: Manifest, deps: LoadDeps): Promise<Model> {
  const { path, transforms } = manifest;
  const { limits, threads, cacheDir, observer } = deps;
  const network = buildNetwork(manifest.network);
  const checkpoint = await readCheckpoint(path);
  const entries = matchStateDict(stateDict(network), checkpoint);
  const tensors = await asFloat32(checkpoint, entries, cacheDir);
  const [starting, hashing] = await Promise.allSettled([
    deps.startEngine({
      layers: network.layers,
      inputSize: transforms.crop,
      classes: network.classes,
      mean: transforms.mean,
      std: transforms.std,
      tensors,
      maxBatchSize: limits.maxBatchSize,
      threads,
    }),
    checkedSha256(manifest),
  ]);
  if (starting.status === 'rejected') throw starting.reason;
  const engine = starting.value;
  if (hashing.status === 'rejected') {
    await engine.close();
    throw hashing.reason;
  }
  return new Model({ manifest, network, sha256: hashing.value, engine }, limits, observer);
}

async function checkedSha256({ path, sha256: expected }: Manifest): Promise<string> {
  const seen = await sha256OfFile(path);
  if (expected === undefined || expected === seen) return seen;
  throw new Error(
    `${path}: The sha256 is ${seen}, but the manifest says ${expected}. Get the file again, or correct the manifest.`,
  );
}
