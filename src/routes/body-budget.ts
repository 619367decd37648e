import type { Metrics } from '../metrics.js';

/** Bytes of bodies that all requests together may hold at a time. Each holds what it has received until it is answered. */
export class BodyBudget {
  readonly maxBytes: number;
  readonly #gauge: Metrics['bodyBytes'];
  #held = 0;

  constructor(maxBytes: number, { bodyBytes }: Metrics) {
    this.maxBytes = maxBytes;
    this.#gauge = bodyBytes;
  }

  /** @returns false, and takes nothing, where there is no room for as many */
  take(bytes: number): boolean {
    if (this.#held + bytes > this.maxBytes) return false;
    this.#held += bytes;
    this.#gauge.set(this.#held);
    return true;
  }

  giveBack(bytes: number): void {
    this.#held -= bytes;
    this.#gauge.set(this.#held);
  }
}
