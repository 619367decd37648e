/** Bytes an element takes, for every dtype that a checkpoint may name. */
export const dtypeSizes = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
} as const;

export type Dtype = keyof typeof dtypeSizes;

/** One row of a checkpoint's index: where a tensor lies in its file. The data stay in the file. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** In elements, as torch counts them. */
  readonly strides: readonly number[];
  /** From the start of the file to the tensor's first element. */
  readonly byteOffset: number;
  /** From the first to just past the last element that the strides reach. */
  readonly byteLength: number;
}

/** A tensor that an engine can read as it is: float32, C order, `byteLength` bytes at `byteOffset` of `path`. */
export interface TensorSource {
  readonly name: string;
  readonly shape: readonly number[];
  readonly path: string;
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** One entry of a network's state dict, under torch's own name. */
export interface StateDictEntry {
  readonly name: string;
  readonly shape: readonly number[];
  /** A parameter is trained and counted; a buffer (running statistics) is neither. */
  readonly kind: 'parameter' | 'buffer';
  /** Only batch norm's `num_batches_tracked` is int64; a checkpoint may lack it (torch before 0.4.1 did not write it). */
  readonly dtype: 'float32' | 'int64';
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Strides in elements of a C-ordered tensor. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides: number[] = new Array(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= Math.max(shape[axis] ?? 1, 1);
  }
  return strides;
}
