/** So many inputs are run again and again. */
const sampleSize = 96;
/** Fewer rounds say nothing. */
const leastRounds = 6;
/** Growth of less may come from fragments, caches and compiled code. */
const least = { growth: 64 << 20, lateGrowth: 16 << 20 };

/** A few of all inputs of a run. */
export class Sample {
  readonly inputs: Buffer[] = [];
  #seen = 0;

  offer(input: Buffer): void {
    // The wider apart, the longer the run: always spread over all of it.
    if (this.inputs.length < sampleSize) this.inputs.push(input);
    else if (this.#seen % Math.ceil(this.#seen / sampleSize) === 0) this.inputs[this.#seen % sampleSize] = input;
    this.#seen++;
  }
}

interface Rounds {
  readonly inputs: readonly Buffer[];
  readonly parallel: number;
  run(batch: readonly Buffer[]): Promise<unknown>;
  /** Resident memory of the process under test, after a collection of garbage. */
  bytes(): Promise<number>;
}

/**
 * Runs the same inputs in rounds and looks at the memory after each: what new inputs cost for the first time is not growth.
 * @returns how the memory has grown, if it has
 */
export async function growthInRounds(
  { inputs, parallel, run, bytes }: Rounds,
  ms: number,
): Promise<string | undefined> {
  const startedAt = performance.now();
  const seen: number[] = [];
  while (inputs.length > 0 && performance.now() - startedAt < ms) {
    for (let at = 0; at < inputs.length; at += parallel) await run(inputs.slice(at, at + parallel));
    seen.push(await bytes());
  }
  return growth(seen);
}

/**
 * The last third of the rounds must still grow by 16 MiB, and the last two thirds by 64 MiB and a fifth.
 * @param seen bytes after each round
 */
export function growth(seen: readonly number[]): string | undefined {
  if (seen.length < leastRounds) return undefined;
  const [warm = 0, late = 0, last = 0] = [1 / 3, 2 / 3, 1].map((part) => seen[Math.ceil(part * seen.length) - 1]);
  const grown = last - warm > Math.max(least.growth, warm / 5) && last - late > least.lateGrowth;
  const megabytes = [warm, late, last].map((bytes) => Math.round(bytes / 1e6));
  return grown ? `${megabytes.join(', ')} MB after a third, two thirds and all of ${seen.length} rounds` : undefined;
}
