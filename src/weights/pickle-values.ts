/** What a pickle of torch.save can hold, once it is read. A tuple is an array too. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Value[]
  | Map<Value, Value>
  | Global
  | Storage
  | Tensor;

/** A name that the pickle imports. `build` stands for what calling it would make; undefined when the arguments are wrong. */
export class Global {
  readonly name: string;
  readonly build: (args: readonly Value[]) => Value | undefined;

  constructor(name: string, build: Global['build']) {
    this.name = name;
    this.build = build;
  }
}

/** A storage, or the part of one that a view shows (legacy files only). Counts and offsets in elements. */
export class Storage {
  readonly key: string;
  readonly dtype: string;
  readonly viewOffset: number;
  readonly elements: number;

  constructor(key: string, dtype: string, viewOffset: number, elements: number) {
    this.key = key;
    this.dtype = dtype;
    this.viewOffset = viewOffset;
    this.elements = elements;
  }
}

/** As the pickle says it: nothing is checked yet but the kinds. */
export class Tensor {
  readonly storage: Storage;
  readonly offset: Integer;
  readonly shape: readonly Integer[];
  readonly strides: readonly Integer[];

  constructor(storage: Storage, offset: Integer, shape: readonly Integer[], strides: readonly Integer[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

/** A bigint when it is outside the safe numbers. */
export type Integer = number | bigint;

export function isInteger(value: Value | undefined): value is Integer {
  return typeof value === 'bigint' || Number.isInteger(value);
}

/** For error messages. */
export function kindOf(value: Value): string {
  if (value === null) return 'None';
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Map) return 'a dict';
  if (value instanceof Uint8Array) return 'bytes';
  if (value instanceof Global) return value.name;
  if (value instanceof Storage) return 'a storage';
  if (value instanceof Tensor) return 'a tensor';
  return `a ${typeof value}`;
}
