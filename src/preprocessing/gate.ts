import { setMaxListeners } from 'node:events';
import { clientClosed, shuttingDown } from './refusals.js';

interface Waiting {
  readonly enter: () => void;
  readonly reject: (error: unknown) => void;
}

/** Lets so many tasks run at a time, first come first served. */
export class Gate {
  readonly #most: number;
  readonly #queue: Waiting[] = [];
  #running = 0;
  #isClosed = false;

  /** @param most at least 1 */
  constructor(most: number) {
    this.#most = most;
  }

  /**
   * A task that waits is dropped when it is aborted; one that runs comes to its end.
   * @throws what the task throws, ServiceError `client_closed_request`, `shutting_down`
   */
  async run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#isClosed) throw shuttingDown();
    if (signal?.aborted) throw clientClosed();
    if (this.#running < this.#most) this.#running++;
    else await this.#turn(signal); // Whoever ends hands its place on, so that no one can slip in between.
    try {
      return await task();
    } finally {
      const next = this.#queue.shift();
      if (next) next.enter();
      else this.#running--;
    }
  }

  /** Rejects the tasks that wait and those that come. */
  close(): void {
    this.#isClosed = true;
    for (const { reject } of this.#queue.splice(0)) reject(shuttingDown());
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    if (signal) setMaxListeners(0, signal); // One request may bring more pictures than the 10 at which Node suspects a leak.
    let onAbort: (() => void) | undefined;
    try {
      await new Promise<void>((enter, reject) => {
        const waiting: Waiting = { enter, reject };
        onAbort = () => {
          const place = this.#queue.indexOf(waiting);
          if (place < 0) return; // It has its turn already.
          this.#queue.splice(place, 1);
          reject(clientClosed());
        };
        signal?.addEventListener('abort', onAbort);
        this.#queue.push(waiting);
      });
    } finally {
      if (onAbort) signal?.removeEventListener('abort', onAbort);
    }
  }
}
