/** One file that is meant to harm, or that nobody would send. */
export interface HostileCase<Outcome extends string> {
  /** The row of the table that it is counted in. */
  readonly kind: string;
  readonly name: string;
  readonly make: () => Buffer | Promise<Buffer>;
  /** What may become of it. */
  readonly outcomes: readonly Outcome[];
}

/** Numbers from 0 up to 2^32 that are the same at each run: mulberry32. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Bytes that cannot be compressed. */
export function noise(length: number, seed = 1): Buffer {
  const next = randomNumbers(seed);
  const words = Uint32Array.from({ length: Math.ceil(length / 4) }, next);
  return Buffer.from(words.buffer, 0, length);
}
