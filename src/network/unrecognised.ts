/** What of a tensor tells which network it belongs to. */
export interface NamedShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** A checkpoint that belongs to no network that can be built. The message says what was seen and what does not fit. */
export class UnrecognisedError extends Error {
  override readonly name = 'UnrecognisedError';
}

const mostNames = 6;

/** The first of several names, and how many there are if that is not all of them. */
export function someOf(names: readonly string[]): string {
  const shown = names.slice(0, mostNames).join(', ');
  return names.length > mostNames ? `${shown}, ... (${names.length} in all)` : shown;
}

/** A shape as torch writes it. */
export function sizeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
