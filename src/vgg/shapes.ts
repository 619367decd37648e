import { elementCount } from '../tensor.js';
import { inputChannels, type Layer, type Layered, unknownLayer } from './layers.js';
import { checkSize } from './sizes.js';

/** Side of a square picture in pixels, or [height, width]. */
export type InputSize = number | readonly [number, number];

/**
 * What each layer puts out for one picture: [channels, height, width], from `flatten` on [features].
 * @throws TypeError | RangeError for a bad size, and RangeError for a picture that is too small for the max poolings
 */
export function outputShapes(network: Layered, inputSize: InputSize): { layer: Layer; shape: number[] }[] {
  const [height, width] = typeof inputSize === 'number' ? [inputSize, inputSize] : inputSize;
  checkSize('The height of the input', height);
  checkSize('The width of the input', width);
  const poolings = network.layers.filter(({ kind }) => kind === 'maxpool').length;
  const smallest = 2 ** poolings;
  if (Math.min(height, width) < smallest) {
    throw new RangeError(
      `The input is ${width} x ${height} pixels; ${poolings} max poolings need at least ${smallest} x ${smallest}.`,
    );
  }

  let shape = [inputChannels, height, width];
  return network.layers.map((layer) => {
    shape = outputShape(layer, shape);
    return { layer, shape };
  });
}

function outputShape(layer: Layer, input: readonly number[]): number[] {
  const [channels = 0, height = 0, width = 0] = input;
  switch (layer.kind) {
    case 'conv':
      return [layer.outChannels, height, width];
    case 'maxpool':
      return [channels, Math.floor(height / 2), Math.floor(width / 2)];
    case 'avgpool':
      return [channels, ...layer.output];
    case 'flatten':
      return [elementCount(input)];
    case 'linear':
      return [layer.outFeatures];
    case 'batchnorm':
    case 'relu':
    case 'lrn':
    case 'dropout':
      return [...input];
    default:
      return unknownLayer(layer);
  }
}

/**
 * Multiply-adds of one picture. torchvision's `_ops` is this / 1e9 (test/common_extended_utils.py there): the weights of
 * convolutions and linear layers, once for each place where they are applied; no biases, no other layer.
 */
export function multiplyAdds(network: Layered, inputSize: InputSize): number {
  return outputShapes(network, inputSize)
    .map(({ layer, shape }) => {
      if (layer.kind === 'conv') return elementCount(shape) * layer.inChannels * layer.kernel ** 2;
      if (layer.kind === 'linear') return elementCount(shape) * layer.inFeatures;
      return 0;
    })
    .reduce((total, count) => total + count, 0);
}
