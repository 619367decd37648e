import type { TargetName } from './targets.js';

export interface WorkerTask {
  readonly target: TargetName;
  readonly seed: number;
  /** The number of the first input. */
  readonly from: number;
  readonly ms: number;
  readonly corpus: string;
  /** Whether the first input of each outcome goes into the corpus, too. */
  readonly grow: boolean;
  /** Holds the inputs that are being run. */
  readonly currentFile: string;
  /** Messages of findings that are known already. */
  readonly known: readonly string[];
}

export interface FoundInput {
  readonly finding: string;
  readonly path: string;
}

export interface WorkerReport {
  readonly inputs: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly kept: number;
  readonly peakBytes: number;
  readonly findings: readonly FoundInput[];
}

export type WorkerMessage = { readonly kind: 'ready' | 'beat' | 'done'; readonly report: WorkerReport };

/** The exit code of a worker that has failed itself. */
export const faultCode = 70;
