import { contiguousStrides, dtypeSizes, elementCount, type TensorEntry } from '../tensor.js';
import type { CheckpointFile } from './checkpoint-file.js';
import { type FloatDtype, toFloat32 } from './float-formats.js';

/** Elements of the result that are made at once: 32 MiB of float32. */
const blockElements = 8 << 20;
/** Elements of the file that are read at once. */
const windowElements = 1 << 20;

/** One axis of a tensor as it lies in the file and as it is written; strides in elements. */
interface Axis {
  readonly extent: number;
  readonly sourceStride: number;
  readonly targetStride: number;
}

/**
 * A tensor of the file in C order as float32, block after block (about 32 MiB, or one slice of the first axis if that
 * is more). A chunk is only valid until the next is asked for.
 */
export async function* readInOrder(
  file: CheckpointFile,
  tensor: TensorEntry & { readonly dtype: FloatDtype },
): AsyncGenerator<Float32Array> {
  const [first, ...inner] = mergedAxes(tensor);
  if (!first) return;
  const block = new Float32Array(Math.min(elementCount(tensor.shape), rowsOf(first) * first.targetStride));
  for (let row = 0; row < first.extent; row += rowsOf(first)) {
    const extent = Math.min(rowsOf(first), first.extent - row);
    const axes = [{ ...first, extent }, ...inner].sort((a, b) => b.sourceStride - a.sourceStride);
    const target = block.subarray(0, extent * first.targetStride);
    await gather(file, tensor, axes, row * first.sourceStride, target, 0);
    yield target;
  }
}

function rowsOf({ targetStride }: Axis): number {
  return Math.max(1, Math.floor(blockElements / targetStride));
}

/** Without axes of extent 1; neighbours that lie in the file as they do in the result are one axis. */
function mergedAxes({ shape, strides }: TensorEntry): Axis[] {
  if (shape.includes(0)) return [];
  const targetStrides = contiguousStrides(shape);
  const axes: Axis[] = [];
  for (const [at, extent] of shape.entries()) {
    if (extent === 1) continue;
    const axis = { extent, sourceStride: strides[at] ?? 1, targetStride: targetStrides[at] ?? 1 };
    const outer = axes.at(-1);
    if (outer && outer.sourceStride === extent * axis.sourceStride)
      axes[axes.length - 1] = { ...axis, extent: outer.extent * extent };
    else axes.push(axis);
  }
  return axes.length > 0 ? axes : [{ extent: 1, sourceStride: 1, targetStride: 1 }];
}

/**
 * Reads the part of the file that the axes reach in one go when it fits in a window; otherwise cuts the axis with the
 * largest stride in pieces. `axes` are sorted by that stride.
 */
async function gather(
  file: CheckpointFile,
  tensor: TensorEntry & { readonly dtype: FloatDtype },
  axes: readonly Axis[],
  source: number,
  target: Float32Array,
  targetAt: number,
): Promise<void> {
  const [outer, ...inner] = axes;
  const reach = reachOf(axes);
  if (!outer || reach <= windowElements) {
    const size = dtypeSizes[tensor.dtype];
    const bytes = await file.read(tensor.byteOffset + source * size, reach * size);
    scatter(toFloat32[tensor.dtype](bytes.buffer), 0, target, targetAt, axes, 0);
    return;
  }
  const step = Math.max(1, Math.floor((windowElements - reachOf(inner)) / outer.sourceStride) + 1);
  for (let at = 0; at < outer.extent; at += step) {
    const extent = Math.min(step, outer.extent - at);
    const piece = extent === 1 ? inner : [{ ...outer, extent }, ...inner];
    await gather(file, tensor, piece, source + at * outer.sourceStride, target, targetAt + at * outer.targetStride);
  }
}

/** Elements from the first to just past the last one. */
function reachOf(axes: readonly Axis[]): number {
  return axes.reduce((reach, { extent, sourceStride }) => reach + (extent - 1) * sourceStride, 1);
}

function scatter(
  window: Float32Array,
  windowAt: number,
  target: Float32Array,
  targetAt: number,
  axes: readonly Axis[],
  depth: number,
): void {
  const axis = axes[depth];
  if (!axis) {
    target[targetAt] = window[windowAt] as number;
    return;
  }
  const { extent, sourceStride, targetStride } = axis;
  if (depth === axes.length - 1) {
    for (let at = 0; at < extent; at++)
      target[targetAt + at * targetStride] = window[windowAt + at * sourceStride] as number;
    return;
  }
  for (let at = 0; at < extent; at++)
    scatter(window, windowAt + at * sourceStride, target, targetAt + at * targetStride, axes, depth + 1);
}
