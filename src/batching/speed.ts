/** Weight of the newest run in its average. */
const newestWeight = 0.2;
/** A run counts for at most so many times what was expected: one in which the engine was started again says little. */
const mostGrowth = 4;
/** Sizes that no run had for so long are forgotten while others are seen: the machine may be another by now. */
const forgetAfterMs = 60_000;

/** How long an engine takes for a batch, learnt from its runs: an exponential average for each size of a batch. */
export class Speed {
  /** By size. */
  readonly #seen = new Map<number, { ms: number; at: number }>();
  /** [maxBatchSize + 1] made from `#seen` when it is asked for. */
  #table: number[] | undefined;
  readonly #maxBatchSize: number;
  #learntAt = Number.NEGATIVE_INFINITY;

  constructor(maxBatchSize: number) {
    this.#maxBatchSize = maxBatchSize;
  }

  get isKnown(): boolean {
    return this.#seen.size > 0;
  }

  /** When the last run ended; -Infinity before the first. */
  get learntAt(): number {
    return this.#learntAt;
  }

  /** @param now the end of the run, on the clock of `performance.now()` */
  learn(size: number, ms: number, now: number): void {
    for (const [other, { at }] of this.#seen) if (now - at > forgetAfterMs) this.#seen.delete(other);
    const expected = this.#seen.get(size)?.ms;
    const average =
      expected === undefined
        ? ms
        : (1 - newestWeight) * expected + newestWeight * Math.min(ms, Math.max(mostGrowth * expected, 1));
    this.#seen.set(size, { ms: average, at: now });
    this.#learntAt = now;
    this.#table = undefined;
  }

  /**
   * Of a run of `size` entries, 1 to maxBatchSize; 0 before any run. Between two sizes that were seen it is interpolated.
   * Beyond them it goes on as it went from one to the next, but never below nor above what lies between "as long for any
   * size" and "as long for each entry".
   */
  msOf(size: number): number {
    this.#table ??= tableOf(
      [...this.#seen].map(([seen, { ms }]) => [seen, ms] as const),
      this.#maxBatchSize,
    );
    return this.#table[size] as number;
  }
}

function tableOf(seen: (readonly [size: number, ms: number])[], maxBatchSize: number): number[] {
  seen.sort(([a], [b]) => a - b);
  const [first, last] = [seen[0], seen.at(-1)];
  const table = Array.from({ length: maxBatchSize + 1 }, () => 0);
  if (first === undefined || last === undefined) return table;
  let above = 0;
  for (let size = 1; size <= maxBatchSize; size++) {
    while (above < seen.length - 1 && (seen[above] as readonly [number, number])[0] < size) above++;
    // The two neighbours between which `size` lies, or the two nearest ones.
    const [b, bMs] = seen[Math.max(above, 1)] ?? last;
    const [a, aMs] = seen[Math.max(above, 1) - 1] ?? first;
    const slope = a === b ? aMs / a : (bMs - aMs) / (b - a);
    const ms = bMs + slope * (size - b);
    const [end, endMs] = size < first[0] ? first : size > last[0] ? last : [0, 0];
    const bounds = [endMs, (endMs * size) / end];
    table[size] = end === 0 ? ms : Math.min(Math.max(ms, Math.min(...bounds)), Math.max(...bounds));
  }
  return table;
}

/** What an entry that comes now finds before it. */
export interface Ahead {
  /** For each lane of the engine: until it is free; 0 where it is idle. */
  readonly freeInMs: readonly number[];
  /** Entries that go before it. */
  readonly entries: number;
  /** Until all of its own can go to the engine. */
  readonly readyInMs: number;
}

/**
 * Until the last of `own` entries is answered. They and those before them go in their order, each batch as full as it can be,
 * each to the lane that is free first.
 * @param msOf how long a run of so many entries takes
 */
export function predictMs(
  { freeInMs, entries, readyInMs }: Ahead,
  own: number,
  maxBatchSize: number,
  msOf: (size: number) => number,
): number {
  const lanes = freeInMs.toSorted((a, b) => a - b);
  const all = entries + own;
  let full = Math.ceil(all / maxBatchSize) - 1;
  const ownBatch = all - full * maxBatchSize;
  const fullMs = msOf(maxBatchSize);
  while (full > 0) {
    const [first = 0] = lanes;
    if ((lanes.at(-1) ?? 0) - first <= fullMs && full >= lanes.length) {
      // They take turns: as many rounds at once as there are, however long the queue is.
      const rounds = Math.floor(full / lanes.length);
      for (const [lane, ms] of lanes.entries()) lanes[lane] = ms + rounds * fullMs;
      full -= rounds * lanes.length;
    } else {
      lanes[0] = first + fullMs;
      lanes.sort((a, b) => a - b);
      full--;
    }
  }
  return Math.max(lanes[0] ?? 0, readyInMs) + msOf(ownBatch);
}

/** Until a run ends that should take `expectedMs`. One that is late will take as long again as it is late. */
export function restMs(expectedMs: number, elapsedMs: number): number {
  return Math.abs(expectedMs - elapsedMs);
}
