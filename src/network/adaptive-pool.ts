/** The inputs `start <= index < end` that one output of an adaptive pooling averages. */
export interface PoolingWindow {
  readonly start: number;
  readonly end: number;
}

/**
 * torch's windows along one axis (aten/src/ATen/native/AdaptivePooling.h: start_index, end_index). They overlap where
 * the output does not divide the input, and repeat where it is larger.
 */
export function poolingWindows(inputExtent: number, outputExtent: number): PoolingWindow[] {
  return Array.from({ length: outputExtent }, (_, i) => ({
    start: Math.floor((i * inputExtent) / outputExtent),
    end: Math.ceil(((i + 1) * inputExtent) / outputExtent),
  }));
}

/**
 * Adaptive average pooling along one axis as a constant matrix [outputExtent, inputExtent], row-major. The pooling is
 * separable: rows and columns are averaged by one matrix product each.
 */
export function averagingMatrix(inputExtent: number, outputExtent: number): Float32Array {
  const matrix = new Float32Array(outputExtent * inputExtent);
  poolingWindows(inputExtent, outputExtent).forEach(({ start, end }, row) => {
    matrix.fill(1 / (end - start), row * inputExtent + start, row * inputExtent + end);
  });
  return matrix;
}
