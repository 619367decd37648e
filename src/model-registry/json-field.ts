import { isSize, largestSize, show } from '../network/sizes.js';

/** A manifest that cannot be used. The message begins with its path and names the field. */
export class ManifestError extends Error {
  override readonly name = 'ManifestError';
  readonly path: string;

  constructor(path: string, problem: string, options?: ErrorOptions) {
    super(`${path}: ${problem}`, options);
    this.path = path;
  }
}

/** A value of a JSON file that knows where it stands, so that every complaint about it names the place: `network.pool[1]`. */
export class JsonField {
  readonly #file: string;
  /** Empty for the whole file. */
  readonly #place: string;
  readonly value: unknown;

  constructor(file: string, value: unknown, place = '') {
    this.#file = file;
    this.#place = place;
    this.value = value;
  }

  /** @param problem goes on from the field's name: "is 3; allowed is 4" */
  error(problem: string, options?: ErrorOptions): ManifestError {
    return new ManifestError(this.#file, `${this.#place || 'the manifest'} ${problem}`, options);
  }

  /** Does what may throw, and puts this field's place and `joint` before the message of what it throws. */
  check<T>(joint: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw new ManifestError(this.#file, `${this.#place}${joint}${(error as Error).message}`, { cause: error });
    }
  }

  /** The fields of an object that has all the required ones and no others than the two lists allow. */
  object<Required extends string, Optional extends string = never>(
    required: readonly Required[],
    optional: readonly Optional[] = [],
  ): Record<Required, JsonField> & Partial<Record<Optional, JsonField>> {
    const { value } = this;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.#notAllowed('an object');
    const allowed: readonly string[] = [...required, ...optional];
    for (const name of Object.keys(value)) {
      if (!allowed.includes(name)) {
        throw this.#child(name).error(`is unknown; allowed are ${allowed.join(', ')}.`);
      }
    }
    for (const name of required) {
      if (!Object.hasOwn(value, name)) throw this.#child(name).error('is missing.');
    }
    const fields = Object.entries(value).map(([name, inner]) => [name, this.#child(name, inner)]);
    return Object.fromEntries(fields);
  }

  /** Whether this is an object with such a field. */
  has(name: string): boolean {
    return typeof this.value === 'object' && this.value !== null && Object.hasOwn(this.value, name);
  }

  list(): JsonField[] {
    if (!Array.isArray(this.value)) throw this.#notAllowed('a list');
    return this.value.map((item, index) => new JsonField(this.#file, item, `${this.#place}[${index}]`));
  }

  tuple<T>(length: 2, read: (item: JsonField) => T): [T, T];
  tuple<T>(length: 3, read: (item: JsonField) => T): [T, T, T];
  tuple<T>(length: number, read: (item: JsonField) => T): T[] {
    const items = this.list();
    if (items.length !== length) throw this.error(`is a list of ${items.length}; allowed is a list of ${length}.`);
    return items.map(read);
  }

  text(pattern = /\S/, allowed = 'a text that is not empty'): string {
    if (typeof this.value === 'string' && pattern.test(this.value)) return this.value;
    throw this.#notAllowed(allowed);
  }

  flag(): boolean {
    if (typeof this.value === 'boolean') return this.value;
    throw this.#notAllowed('true or false');
  }

  /** Of channels, features, classes or pixels. */
  size(): number {
    return this.number(isSize, `a whole number from 1 to ${largestSize}`);
  }

  number(isAllowed = (_: number) => true, allowed = 'a number'): number {
    if (typeof this.value === 'number' && Number.isFinite(this.value) && isAllowed(this.value)) return this.value;
    throw this.#notAllowed(allowed);
  }

  oneOf<const Name extends string>(names: readonly Name[]): Name {
    const name = names.find((candidate) => candidate === this.value);
    if (name !== undefined) return name;
    throw this.#notAllowed(`one of ${names.join(', ')}`);
  }

  #child(name: string, value?: unknown): JsonField {
    return new JsonField(this.#file, value, this.#place ? `${this.#place}.${name}` : name);
  }

  #notAllowed(allowed: string): ManifestError {
    return this.error(`is ${show(this.value)}; allowed is ${allowed}.`);
  }
}
