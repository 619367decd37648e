import { inspect } from 'node:util';

/** No number of channels, features or pixels a side may be larger: a bound for slips of the keyboard, far from any real network. */
export const largestSize = 65_536;

export function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= largestSize;
}

/** @throws TypeError | RangeError that names `what`, the value seen and the values allowed */
export function checkSize(what: string, value: unknown): void {
  if (isSize(value)) return;
  const message = `${what} is ${show(value)}; allowed is a whole number from 1 to ${largestSize}.`;
  throw typeof value === 'number' ? new RangeError(message) : new TypeError(message);
}

/** A value of any type as a short piece of an error message; lists and objects by their kind alone. */
export function show(value: unknown): string {
  return inspect(value, { depth: -1, maxStringLength: 40 });
}
