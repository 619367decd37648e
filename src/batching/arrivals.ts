import { type Linked, LinkedQueue } from './linked-queue.js';

/**
 * An upload that takes longer is not counted: others will overtake it. Else clients that send a byte now and then could keep
 * everyone out.
 */
const promptMs = 1000;
/** Weight of the newest entry in the average. */
const newestWeight = 0.1;

interface Upload extends Linked<Upload> {
  readonly since: number;
  isCounted: boolean;
}

/** The entries of one request on their way to the queue. */
export interface Arrival {
  /** Its body is here, with so many entries that are now made ready; until then they counted as one. */
  expect(entries: number): void;
  /** One of them is ready, or never will be. */
  arrived(): void;
  /** None of them will come any more. May be called again. */
  end(): void;
}

/**
 * Counts the entries that were let in and are not in the queue yet: they come from a client still, or are being made ready.
 * Learns how fast they are made ready.
 */
export class Arrivals {
  readonly #uploads = new LinkedQueue<Upload>();
  #inWork = 0;
  /** When the last one became ready, or when work began after there was none. */
  #paceFrom = 0;
  #msEach = 0;

  /** Those that are being made ready. */
  get inWork(): number {
    return this.#inWork;
  }

  /** Those that come from a client still, and will soon be here. */
  get uploading(): number {
    const prompt = performance.now() - promptMs;
    for (let { first } = this.#uploads; first && first.since <= prompt; { first } = this.#uploads) this.#uncount(first);
    return this.#uploads.length;
  }

  /**
   * Until so many are ready. While all that makes them ready is at work, the time from one to the next is what counts;
   * while it is not, this says too much, by no more than there are workers.
   */
  readyInMs(entries: number): number {
    return entries * this.#msEach;
  }

  begin(): Arrival {
    const upload: Upload = { since: performance.now(), isCounted: true, previous: undefined, next: undefined };
    this.#uploads.push(upload);
    let left = 0;
    return {
      expect: (entries) => {
        this.#uncount(upload);
        if (this.#inWork === 0) this.#paceFrom = performance.now();
        left = entries;
        this.#inWork += entries;
      },
      arrived: () => {
        if (left === 0) return;
        left--;
        this.#inWork--;
        const now = performance.now();
        this.#msEach += newestWeight * (now - this.#paceFrom - this.#msEach);
        this.#paceFrom = now;
      },
      end: () => {
        this.#uncount(upload);
        this.#inWork -= left;
        left = 0;
      },
    };
  }

  #uncount(upload: Upload): void {
    if (!upload.isCounted) return;
    upload.isCounted = false;
    this.#uploads.remove(upload);
  }
}
