import type { RequestRecord } from './record.js';

/**
 * So many refusals a second are sent at once. Each costs 30 to 40 microseconds of the one thread that all requests go
 * through; without a bound, clients that ask again at once would take that thread from those who are let in.
 */
const perSecond = 500;
/** As many may come together. */
const burst = 100;
/** Further ones wait for their turn, but no longer. */
const longestMs = 2000;
const tickMs = 20;

interface Waiting {
  readonly until: number;
  readonly go: () => void;
}

/** Spreads refusals over time. A connection that waits for its refusal sends nothing meanwhile, and its body is not read. */
export class RefusalPace {
  /** In their order. */
  readonly #waiting = new Set<Waiting>();
  #tokens = burst;
  #filledAt = performance.now();
  #timer: NodeJS.Timeout | undefined;

  /**
   * Resolves when a refusal may be sent, or its client has left.
   * @param deadlineAt of the request, on the clock of `performance.now()`: it waits no longer
   */
  turn(record: RequestRecord, deadlineAt: number): Promise<void> {
    const now = performance.now();
    this.#fill(now);
    if (this.#waiting.size === 0 && this.#take()) return Promise.resolve();
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
    for (const entry of this.#waiting) if (this.#take() || entry.until <= now) this.#let(entry);
    if (this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #let(entry: Waiting): void {
    this.#waiting.delete(entry);
    entry.go();
  }

  #fill(now: number): void {
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAt) / 1000) * perSecond);
    this.#filledAt = now;
  }

  #take(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
