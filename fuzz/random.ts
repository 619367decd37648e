import fc from 'fast-check';

/**
 * Numbers that follow from the seed alone: sfc32 (Chris Doty-Humphrey, PractRand), whose state is filled from the text.
 * Each input of a run has a generator of its own, so that input n is the same however long the run is.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: string) {
    [this.#a, this.#b, this.#c] = [hash(seed, 0x811c9dc5), hash(seed, 0x01000193), hash(seed, 0x9e3779b9)];
    for (let warmUp = 0; warmUp < 12; warmUp++) this.uint32();
  }

  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** A whole number from 0 to `limit` - 1; 0 where there is none. */
  below(limit: number): number {
    return limit <= 1 ? 0 : Math.floor((this.uint32() / 2 ** 32) * limit);
  }

  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True once in `n` times. */
  once(n: number): boolean {
    return this.below(n) === 0;
  }

  /** Small numbers often, large ones now and then. */
  small(limit: number): number {
    return this.below(2 ** this.below(Math.ceil(Math.log2(limit + 1)) + 1)) % (limit + 1);
  }

  pick<T>(choices: readonly T[]): T {
    if (choices.length === 0) throw new RangeError('nothing to choose from');
    return choices[this.below(choices.length)] as T;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; at++) bytes[at] = this.uint32() >>> 24;
    return bytes;
  }

  /** A value of one of fast-check's arbitraries. */
  value<T>(arbitrary: fc.Arbitrary<T>): T {
    return fc.sample(arbitrary, { seed: this.uint32() | 0, numRuns: 1 })[0] as T;
  }
}

/** FNV-1a with another start for each word of the state. */
function hash(text: string, start: number): number {
  let state = start;
  for (const byte of Buffer.from(text)) state = Math.imul(state ^ byte, 0x01000193);
  return state | 0;
}
