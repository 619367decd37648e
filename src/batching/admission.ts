import { refusal, type ServiceError } from '../errors.js';
import type { BatchLimits } from './policy.js';
import { predictMs, restMs, Speed } from './speed.js';

/** What comes to the queue before an entry of which is asked. */
export interface OnTheWay {
  /** They are not in the queue yet, and will be before it. */
  readonly entries: number;
  /** Until it can be in the queue itself. */
  readonly readyInMs: number;
}

export const nothingOnTheWay: OnTheWay = { entries: 0, readyInMs: 0 };

/** The entries that wait. */
export interface Line {
  readonly entries: number;
  /** On the clock of `performance.now()`; undefined where none waits to be put into a batch. */
  readonly firstQueuedAt: number | undefined;
}

/** An engine that had nothing to do for so long takes an entry whatever was learnt: else a wrong average would stay for ever. */
const relearnAfterMs = 1000;

/** Says who is let in: it knows how fast the engine is, and what it has to do. */
export class Admission {
  readonly #limits: BatchLimits;
  readonly #lanes: number;
  readonly #speed: Speed;
  /** One for each lane that has a batch. */
  readonly #running = new Set<{ readonly size: number; readonly startedAt: number }>();

  constructor(limits: BatchLimits, lanes: number) {
    this.#limits = limits;
    this.#lanes = lanes;
    this.#speed = new Speed(limits.maxBatchSize);
  }

  /** A lane has a batch. @returns to be called when it has it no more */
  begin(size: number): () => void {
    const run = { size, startedAt: performance.now() };
    this.#running.add(run);
    return () => this.#running.delete(run);
  }

  /** @param endedAt on the clock of `performance.now()` */
  learn(size: number, runMs: number, endedAt: number): void {
    this.#speed.learn(size, runMs, endedAt);
  }

  /**
   * Until the last of `own` entries that came now would be answered, in milliseconds; 0 while nothing is known of the
   * engine's speed.
   */
  predictMs({ entries: waiting, firstQueuedAt }: Line, own: number, onTheWay: OnTheWay): number {
    if (!this.#speed.isKnown) return 0;
    const now = performance.now();
    const { maxBatchSize, maxWaitMs } = this.#limits;
    const msOf = (size: number) => this.#speed.msOf(size);
    const freeInMs = Array.from(this.#running, ({ size, startedAt }) => restMs(msOf(size), now - startedAt));
    while (freeInMs.length < this.#lanes) freeInMs.push(0);
    const entries = waiting + onTheWay.entries;
    // How long a batch that is not full still waits for others.
    const fillMs = entries + own < maxBatchSize ? Math.max(0, (firstQueuedAt ?? now) + maxWaitMs - now) : 0;
    const readyInMs = Math.max(onTheWay.readyInMs, fillMs);
    return predictMs({ freeInMs, entries, readyInMs }, own, maxBatchSize, msOf);
  }

  /**
   * Whether `own` entries that come now are to be refused. An idle engine is only refused to what it cannot answer in
   * time by itself.
   */
  refusal(line: Line, own: number, deadlineAt: number, onTheWay: OnTheWay): ServiceError | undefined {
    const { maxQueue, maxBatchSize } = this.#limits;
    const before = line.entries + onTheWay.entries;
    if (before >= maxQueue + this.#idleLanes * maxBatchSize) return this.#queueFull(line, onTheWay);
    const isIdle = before === 0 && this.#idleLanes === this.#lanes;
    if (isIdle && performance.now() - this.#speed.learntAt > relearnAfterMs) return undefined;
    return this.#tooLate(line, own, deadlineAt, onTheWay);
  }

  /** The same for one that is ready to be queued. What an idle lane would take at once is not refused. */
  refusalAtQueue(line: Line, deadlineAt: number | undefined): ServiceError | undefined {
    if (line.entries >= this.#limits.maxQueue) return this.#queueFull(line, nothingOnTheWay);
    if (deadlineAt === undefined || (line.entries === 0 && this.#idleLanes > 0)) return undefined;
    return this.#tooLate(line, 1, deadlineAt, nothingOnTheWay);
  }

  get #idleLanes(): number {
    return this.#lanes - this.#running.size;
  }

  #tooLate(line: Line, own: number, deadlineAt: number, onTheWay: OnTheWay): ServiceError | undefined {
    const etaMs = this.predictMs(line, own, onTheWay);
    const leftMs = deadlineAt - performance.now();
    if (etaMs <= leftMs) return undefined;
    const retryAfterSeconds = wholeSeconds(etaMs);
    const eta_ms = Math.ceil(etaMs);
    return refusal(
      'overloaded',
      `An answer would be there in about ${eta_ms} ms, and ${Math.max(0, Math.floor(leftMs))} ms are left of the time allowed. ` +
        `Try again in ${retryAfterSeconds} s, or allow more time.`,
      { retryAfterSeconds, members: { eta_ms } },
    );
  }

  #queueFull(line: Line, onTheWay: OnTheWay): ServiceError {
    const retryAfterSeconds = wholeSeconds(this.predictMs(line, 1, onTheWay));
    const waiting = line.entries + onTheWay.entries;
    const detail = `${waiting} entries wait in the queue, and no more are allowed. Try again in ${retryAfterSeconds} s.`;
    return refusal('queue_full', detail, { retryAfterSeconds });
  }
}

function wholeSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
