import type { RequestRecord } from './record.js';

/**
 * So many refusals a second are sent at once. Each costs the one thread that all requests go through some 200 microseconds,
 * on a machine whose caches the engine keeps for itself; so they take about 5 % of it. Without a bound, clients that ask
 * again at once would take that thread from those who are let in.
 */
const perSecond = 250;
/** So many may come together. */
const burst = 100;
/** Further ones wait for their turn, but no longer. */
const longestMs = 4000;
const tickMs = 20;

interface Waiting {
  readonly until: number;
  readonly go: () => void;
}

/** Spreads refusals over time. A connection that waits for its refusal sends no other request meanwhile. */
export class RefusalPace {
  readonly #isLeaving: () => boolean;
  /** In their order. */
  readonly #waiting = new Set<Waiting>();
  #tokens = burst;
  #filledAt = performance.now();
  #timer: NodeJS.Timeout | undefined;

  /** @param isLeaving whether the service is about to end: then nobody waits for a refusal any more */
  constructor(isLeaving: () => boolean) {
    this.#isLeaving = isLeaving;
  }

  /**
   * Resolves when a refusal may be sent, or its client has left.
   * @param deadlineAt of the request, on the clock of `performance.now()`: it waits no longer
   */
  turn(record: RequestRecord, deadlineAt: number): Promise<void> {
    const now = performance.now();
    this.#fill(now);
    if (this.#isLeaving() || (this.#waiting.size === 0 && this.#take())) return Promise.resolve();
    return new Promise((resolve) => {
      const entry: Waiting = { until: Math.min(now + longestMs, deadlineAt), go: resolve };
      this.#waiting.add(entry);
      const { onClose } = record;
      record.onClose = (wasSent) => {
        onClose?.(wasSent);
        this.#let(entry);
      };
      this.#timer ??= setInterval(() => this.#tick(), tickMs).unref();
    });
  }

  #tick(): void {
    const now = performance.now();
    this.#fill(now);
    const isLeaving = this.#isLeaving();
    for (const entry of this.#waiting) if (isLeaving || this.#take() || entry.until <= now) this.#let(entry);
    if (this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #let(entry: Waiting): void {
    this.#waiting.delete(entry);
    entry.go();
  }

  #fill(now: number): void {
    // Of more than can have their turn in time, some go earlier: else all that came together would go together.
    const perMs = Math.max(perSecond / 1000, this.#waiting.size / longestMs);
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#filledAt) * perMs);
    this.#filledAt = now;
  }

  #take(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
