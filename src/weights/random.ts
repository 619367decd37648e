const twoTo32 = 2 ** 32;
const goldenRatio = 0x9e3779b9;

/**
 * xoshiro128** 1.1 (D. Blackman and S. Vigna, https://prng.di.unimi.it). Its state is filled from a seed as SplitMix does:
 * by multiples of the golden ratio, mixed. The same seed gives the same numbers.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    this.#a = fmix32(seed + goldenRatio);
    this.#b = fmix32(seed + 2 * goldenRatio);
    this.#c = fmix32(seed + 3 * goldenRatio);
    this.#d = fmix32(seed + 4 * goldenRatio);
  }

  /** A whole number from 0 to 2^32 - 1. */
  uint32(): number {
    const scrambled = Math.imul(this.#b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9);
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /** Fills with U(-bound, bound). */
  fillUniform(values: Float32Array, bound: number): void {
    for (let i = 0; i < values.length; i++) values[i] = ((2 * this.uint32()) / twoTo32 - 1) * bound;
  }

  /**
   * Fills with N(0, std^2), by Box and Muller: two numbers from two draws, in float64, rounded once. Of an odd length the
   * last draw's second number is dropped.
   */
  fillNormal(values: Float32Array, std: number): void {
    for (let i = 0; i < values.length; i += 2) {
      // From (0, 1], where the logarithm is finite.
      const radius = std * Math.sqrt(-2 * Math.log((this.uint32() + 1) / twoTo32));
      const angle = (2 * Math.PI * this.uint32()) / twoTo32;
      values[i] = radius * Math.cos(angle);
      // Beyond the end of an array of odd length this writes nothing.
      values[i + 1] = radius * Math.sin(angle);
    }
  }
}

/** MurmurHash3's finaliser: every bit of the input, taken modulo 2^32, changes half of the output's. */
function fmix32(input: number): number {
  let mixed = input | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
