import { elementCount } from '../tensor.js';
import { inputChannels, type Layer, type Layered, unknownLayer } from './layer.js';
import { checkSize } from './sizes.js';

/** Side of a square picture in pixels, or [height, width]. */
export type InputSize = number | readonly [number, number];

/**
 * What goes into each layer and comes out of it for one picture: [channels, height, width], from `flatten` on [features].
 * @throws TypeError | RangeError for a bad size, and RangeError for a picture that is too small for the max poolings
 */
export function outputShapes(
  network: Layered,
  inputSize: InputSize,
): { layer: Layer; inputShape: readonly number[]; shape: number[] }[] {
  const [height, width] = typeof inputSize === 'number' ? [inputSize, inputSize] : inputSize;
  checkSize('The height of the input', height);
  checkSize('The width of the input', width);
  // Only a pooling without padding can leave nothing.
  const poolings = network.layers.filter((layer) => layer.kind === 'maxpool' && layer.padding === 0).length;
  const smallest = 2 ** poolings;
  if (Math.min(height, width) < smallest) {
    throw new RangeError(
      `The input is ${width} x ${height} pixels; ${poolings} max poolings need at least ${smallest} x ${smallest}.`,
    );
  }

  const shapes = new Map<string, number[]>();
  let shape = [inputChannels, height, width];
  return network.layers.map((layer) => {
    const inputShape = layer.input === undefined ? shape : earlier(shapes, layer.input);
    shape = outputShape(layer, inputShape);
    shapes.set(layer.name, shape);
    return { layer, inputShape, shape };
  });
}

/** What an earlier layer put out, by its name. */
export function earlier<T>(outputs: ReadonlyMap<string, T>, name: string): T {
  const output = outputs.get(name);
  if (output === undefined) throw new RangeError(`there is no layer ${name} before the one that reads it`);
  return output;
}

function outputShape(layer: Layer, input: readonly number[]): number[] {
  const [channels = 0, height = 0, width = 0] = input;
  switch (layer.kind) {
    case 'conv':
      return [layer.outChannels, slid(height, layer), slid(width, layer)];
    case 'maxpool':
      return [channels, slid(height, layer), slid(width, layer)];
    case 'avgpool':
      return [channels, ...layer.output];
    case 'flatten':
      return [elementCount(input)];
    case 'linear':
      return [layer.outFeatures];
    case 'batchnorm':
    case 'relu':
    case 'add':
    case 'lrn':
    case 'dropout':
      return [...input];
    default:
      return unknownLayer(layer);
  }
}

/** What slides over a picture, in pixels along each axis. */
export interface SlidingWindow {
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
}

/** How many places a window has along an axis. */
function slid(extent: number, window: SlidingWindow): number {
  return Math.floor((extent + 2 * window.padding - window.kernel) / window.stride) + 1;
}

/**
 * Multiply-adds of one picture. torchvision's `_ops` is this / 1e9 (test/common_extended_utils.py there): the weights of
 * convolutions and linear layers, once for each place where they are applied; no biases, no other layer.
 */
export function multiplyAdds(network: Layered, inputSize: InputSize): number {
  return outputShapes(network, inputSize)
    .map(({ layer, shape }) => layerMultiplyAdds(layer, shape))
    .reduce((total, count) => total + count, 0);
}

/** The part of one layer, given the shape that it puts out. */
export function layerMultiplyAdds(layer: Layer, shape: readonly number[]): number {
  if (layer.kind === 'conv') return elementCount(shape) * layer.inChannels * layer.kernel ** 2;
  if (layer.kind === 'linear') return elementCount(shape) * layer.inFeatures;
  return 0;
}
