import type { LeaveReason } from '../batching/policy.js';

/** `unloaded`: known, but not in memory. `failed` keeps its reason and may be loaded again. */
export type ModelState = 'unloaded' | 'loading' | 'ready' | 'failed';

/** What the registry tells about its models while it works. Called synchronously; must not throw. */
export interface RegistryObserver {
  /** `reason` comes with `failed` only. */
  stateChanged(model: string, state: ModelState, reason?: string): void;
  /** Pictures that wait; those in the engine are not counted. */
  queueDepth(model: string, pictures: number): void;
  /** Once for each picture that goes to the engine. */
  queueWait(model: string, waitMs: number): void;
  /** Once for each batch that the engine answered; `computeMs` is the time inside the engine. */
  batch(model: string, batch: { readonly size: number; readonly computeMs: number }): void;
  /** A picture was given up before its answer was there. */
  left(model: string, reason: LeaveReason): void;
}
