import type { Opened } from './targets.js';

/** Growth of less may come from fragments, caches and compiled code. */
const leastGrowth = 128 << 20;
/** The last part must still grow by as much, or what has grown was only slow to warm up. */
const leastLateGrowth = 24 << 20;

/**
 * Compares the resident memory at the end of the time with that after the first third, each after a collection of
 * garbage: it has grown where it is more than 128 MiB and a quarter above, and has grown by 24 MiB still in the last third.
 */
export class MemoryWatch {
  readonly #opened: Opened;
  readonly #ms: number;
  readonly #seen: number[] = [];

  constructor(opened: Opened, ms: number) {
    this.#opened = opened;
    this.#ms = ms;
  }

  /** @returns how much it has grown, at the end of the time, if it has */
  async look(passedMs: number): Promise<string | undefined> {
    const marks = [1 / 3, 2 / 3, 0.98];
    const mark = marks[this.#seen.length];
    if (mark === undefined || passedMs < mark * this.#ms) return undefined;
    this.#seen.push(await this.#bytes());
    return growth(this.#seen);
  }

  async #bytes(): Promise<number> {
    if (this.#opened.memoryBytes) return await this.#opened.memoryBytes();
    globalThis.gc?.();
    return process.memoryUsage().rss;
  }
}

/** @param seen bytes after each third of the time; nothing is said of fewer than three */
export function growth([warm, later, last]: readonly number[]): string | undefined {
  if (warm === undefined || later === undefined || last === undefined) return undefined;
  const grown = last - warm > Math.max(leastGrowth, warm / 4) && last - later > leastLateGrowth;
  const megabytes = (bytes: number) => Math.round(bytes / 1e6);
  return grown ? `${megabytes(warm)}, ${megabytes(later)}, ${megabytes(last)} MB` : undefined;
}
