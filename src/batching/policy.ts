/** What the policy needs to know of an entry. Times are milliseconds on the clock of `performance.now()`. */
export interface Waiting {
  readonly signal: AbortSignal | undefined;
  readonly queuedAt: number;
  readonly deadlineAt: number | undefined;
}

export type LeaveReason = 'aborted' | 'late';

export interface BatchPolicy {
  /** At least 1. */
  readonly maxBatchSize: number;
  /** How long an idle engine waits for a batch to fill, counted from its first entry. 0: it never waits. */
  readonly maxWaitMs: number;
}

export interface BatchLimits extends BatchPolicy {
  /** Entries that may wait, at least 1; those that the engine has are not counted. */
  readonly maxQueue: number;
}

export interface Decision<Entry> {
  /** These leave unanswered, before the engine sees them. */
  readonly leaving: { readonly entry: Entry; readonly reason: LeaveReason }[];
  /** These go to the engine now. */
  readonly batch: Entry[];
  /** Above 0: the batch is empty because its first entry may wait so much longer for others. */
  readonly waitMs: number;
}

/**
 * What goes into the next batch of an idle engine. It looks no further into `entries` (oldest first) than it needs to
 * fill one batch, so that over the life of a queue every entry is looked at about once.
 */
export function nextBatch<Entry extends Waiting>(
  entries: Iterable<Entry>,
  now: number,
  { maxBatchSize, maxWaitMs }: BatchPolicy,
): Decision<Entry> {
  const leaving: Decision<Entry>['leaving'] = [];
  const batch: Entry[] = [];
  for (const entry of entries) {
    const reason = reasonToLeave(entry, now);
    if (reason) leaving.push({ entry, reason });
    else batch.push(entry);
    if (batch.length === maxBatchSize) return { leaving, batch, waitMs: 0 };
  }
  const waitMs = batch[0] ? batch[0].queuedAt + maxWaitMs - now : 0;
  return waitMs > 0 ? { leaving, batch: [], waitMs } : { leaving, batch, waitMs: 0 };
}

export function reasonToLeave({ signal, deadlineAt }: Waiting, now: number): LeaveReason | undefined {
  if (signal?.aborted) return 'aborted';
  if (deadlineAt !== undefined && deadlineAt <= now) return 'late';
  return undefined;
}
