import type { EngineInfo } from '../engines/engine.js';
import type { Agreement } from './agreement.js';

/** `unloaded`: known, but not in memory. `failed` keeps its reason and may be loaded again. */
export type ModelState = 'unloaded' | 'loading' | 'ready' | 'failed';

/**
 * What a load is at: getting the file, reading what is in it, running sample pictures in fp32 to compare another precision
 * with it, or starting the engine.
 */
export interface LoadProgress {
  readonly step: 'fetching' | 'checking' | 'comparing' | 'starting';
  /** While fetching: what is on this machine already, and the size of the whole file if it is known. */
  readonly receivedBytes?: number | undefined;
  readonly totalBytes?: number | undefined;
}

/** Milliseconds of each part of a load. The hash is computed while the engine starts, so the parts overlap. */
export interface LoadTimes {
  /** Finding the file, or fetching it. */
  readonly locate: number;
  /** Reading the checkpoint's index and matching it with the network. */
  readonly index: number;
  /** Of tensors that an engine cannot read in place. */
  readonly convert: number;
  /** From the start of the engine's process until it is warm. */
  readonly engineStart: number;
  /** The part of it that was the first runs, if the engine tells. */
  readonly warmUp: number | undefined;
  /** Comparing another precision with fp32, the engine for that included. */
  readonly agreement?: number | undefined;
  readonly hash: number;
  readonly total: number;
}

/** What the registry tells about its models while it works. Called synchronously; must not throw. */
export interface RegistryObserver {
  /** `error` comes with `failed` only. */
  stateChanged(model: string, state: ModelState, error?: unknown): void;
  /** While the model is `loading`: at each new step, and whenever more bytes have come in. */
  loadProgress(model: string, progress: LoadProgress): void;
  /**
   * Once for each load, just before the state becomes `ready`.
   * @param agreement of another precision with fp32, or why that could not be measured; undefined where it was not to be
   */
  loaded(model: string, info: EngineInfo, times: LoadTimes, agreement?: Agreement | Error): void;
  /** Pictures that wait; those in the engine are not counted. */
  queueDepth(model: string, pictures: number): void;
  /** Once for each picture that goes to the engine. */
  queueWait(model: string, waitMs: number): void;
  /** Once for each batch that the engine answered; `computeMs` is the time inside the engine. */
  batch(model: string, batch: { readonly size: number; readonly computeMs: number }): void;
}
