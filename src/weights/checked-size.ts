import type { Blame } from './checkpoint-error.js';
import type { Integer } from './pickle-values.js';

/** A size, stride or offset as a safe number. Throws CheckpointError `negative_size` or `overflow`. */
export function checkedSize(value: Integer, what: string, blame: Blame): number {
  if (value < 0) throw blame('negative_size', `${what} is ${value}.`);
  if (value > Number.MAX_SAFE_INTEGER) throw blame('overflow', `${what} is ${value}.`);
  return Number(value);
}

/** The product of sizes, as far as each step of it is a safe number. Throws CheckpointError `overflow`. */
export function checkedProduct(sizes: readonly number[], what: string, blame: Blame): number {
  return sizes.reduce((product, size) => checkedSize(product * size, what, blame), 1);
}
