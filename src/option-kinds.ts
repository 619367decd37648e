/** How text becomes a value. */
export interface Kind<T> {
  /** Stands for the value in help; empty when the flag alone is the value. */
  readonly placeholder: string;
  /** All values there are, where they can be listed. */
  readonly choices?: readonly string[];
  /** What is allowed, as the end of a sentence that begins with "give". */
  readonly allowed: string;
  /** `undefined`: not allowed. */
  parse(text: string): T | undefined;
  /** The inverse of `parse`. */
  show(value: T): string;
}

/** The largest delay of a Node timer, and a size that one buffer holds on every machine. */
export const int32Max = 2 ** 31 - 1;

export function text(placeholder: string): Kind<string> {
  return { placeholder, allowed: `a ${placeholder}`, parse: (seen) => seen || undefined, show: (value) => value };
}

export function integer(placeholder: string, min: number, max: number): Kind<number> {
  return {
    placeholder,
    allowed: `a whole number from ${min} to ${max}`,
    parse: (seen) => within(/^\d+$/.test(seen) ? Number(seen) : Number.NaN, min, max),
    show: String,
  };
}

const bytesPerUnit = { b: 1, kb: 1e3, mb: 1e6, gb: 1e9, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30 } as const;

/** A number of bytes, in decimal or binary units, whole after rounding down. */
export function byteSize(placeholder: string): Kind<number> {
  return {
    placeholder,
    allowed: `bytes, or a number with kB, MB, GB, KiB, MiB or GiB, from 1 to ${int32Max} bytes`,
    parse(seen) {
      const [, digits, unit = 'b'] = /^(\d+(?:\.\d+)?) ?([kmg]?i?b)?$/i.exec(seen) ?? [];
      const factor = bytesPerUnit[unit.toLowerCase() as keyof typeof bytesPerUnit];
      return digits === undefined ? undefined : within(Math.floor(Number(digits) * factor), 1, int32Max);
    },
    show: (value) => (value % 1e6 === 0 ? `${value / 1e6}MB` : String(value)),
  };
}

function within(value: number, min: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined;
}

export function oneOf<const T extends string>(placeholder: string, choices: readonly T[]): Kind<T> {
  return {
    placeholder,
    choices,
    allowed: `one of ${choices.join(', ')}`,
    parse: (seen) => choices.find((value) => value === seen),
    show: (value) => value,
  };
}

export function boolean(): Kind<boolean> {
  return {
    placeholder: '',
    allowed: 'true, false, 1 or 0',
    parse: (seen) => (seen === 'true' || seen === '1' ? true : seen === 'false' || seen === '0' ? false : undefined),
    show: String,
  };
}
