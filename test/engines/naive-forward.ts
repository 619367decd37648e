import type { EngineSpec } from '../../src/engines/engine.js';
import { unknownLayer } from '../../src/vgg/layers.js';

interface Volume {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly at: (channel: number, y: number, x: number) => number;
}

/**
 * One picture through the network in float64, each layer written as its definition says and as slowly as that is.
 * @param weights by torch's names
 * @param pixels [size, size, 3]
 * @returns [classes]
 */
export function naiveForward(
  { layers, inputSize, mean, std }: EngineSpec,
  weights: ReadonlyMap<string, Float32Array>,
  pixels: Uint8Array,
): number[] {
  const start = volume(3, inputSize, inputSize, (c, y, x) => {
    const value = pixels[(y * inputSize + x) * 3 + c] ?? Number.NaN;
    return (value / 255 - (mean[c] ?? Number.NaN)) / (std[c] ?? Number.NaN);
  });
  const end = layers.reduce((input, layer) => {
    const { channels, height, width, at } = input;
    const weight = (name: string, index: number) => weights.get(`${layer.name}.${name}`)?.[index] ?? Number.NaN;
    switch (layer.kind) {
      case 'conv': {
        const { kernel, padding } = layer;
        return volume(layer.outChannels, height, width, (out, y, x) => {
          let sum = weight('bias', out);
          for (let c = 0; c < channels; c++)
            for (let ky = 0; ky < kernel; ky++)
              for (let kx = 0; kx < kernel; kx++)
                sum +=
                  weight('weight', ((out * channels + c) * kernel + ky) * kernel + kx) *
                  at(c, y + ky - padding, x + kx - padding);
          return sum;
        });
      }
      case 'batchnorm':
        return volume(channels, height, width, (c, y, x) => {
          const centred = at(c, y, x) - weight('running_mean', c);
          return (centred / Math.sqrt(weight('running_var', c) + layer.eps)) * weight('weight', c) + weight('bias', c);
        });
      case 'relu':
        return volume(channels, height, width, (c, y, x) => Math.max(0, at(c, y, x)));
      case 'lrn': {
        const reach = (layer.size - 1) / 2;
        return volume(channels, height, width, (c, y, x) => {
          let squares = 0;
          for (let near = c - reach; near <= c + reach; near++) squares += at(near, y, x) ** 2;
          return at(c, y, x) / (layer.k + (layer.alpha * squares) / layer.size) ** layer.beta;
        });
      }
      case 'maxpool':
        return volume(channels, Math.floor(height / 2), Math.floor(width / 2), (c, y, x) =>
          Math.max(at(c, 2 * y, 2 * x), at(c, 2 * y, 2 * x + 1), at(c, 2 * y + 1, 2 * x), at(c, 2 * y + 1, 2 * x + 1)),
        );
      case 'avgpool': {
        const [rows, columns] = layer.output;
        return volume(channels, rows, columns, (c, row, column) => {
          const values: number[] = [];
          for (let y = Math.floor((row * height) / rows); y < ((row + 1) * height) / rows; y++)
            for (let x = Math.floor((column * width) / columns); x < ((column + 1) * width) / columns; x++)
              values.push(at(c, y, x));
          return values.reduce((sum, value) => sum + value, 0) / values.length;
        });
      }
      case 'flatten':
        return volume(channels * height * width, 1, 1, (index) =>
          at(Math.floor(index / (height * width)), Math.floor(index / width) % height, index % width),
        );
      case 'linear':
        return volume(layer.outFeatures, 1, 1, (out) => {
          let sum = weight('bias', out);
          for (let index = 0; index < channels; index++)
            sum += weight('weight', out * channels + index) * at(index, 0, 0);
          return sum;
        });
      case 'dropout':
        return input;
      default:
        return unknownLayer(layer);
    }
  }, start);
  return Array.from({ length: end.channels }, (_, index) => end.at(index, 0, 0));
}

/** Computes every element once. Reading outside gives zero, which is the padding of a convolution and of LRN. */
function volume(channels: number, height: number, width: number, element: Volume['at']): Volume {
  const data = new Float64Array(channels * height * width);
  for (let c = 0, index = 0; c < channels; c++)
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) data[index++] = element(c, y, x);
  const inside = (c: number, y: number, x: number) =>
    c >= 0 && c < channels && y >= 0 && y < height && x >= 0 && x < width;
  return {
    channels,
    height,
    width,
    at: (c, y, x) => (inside(c, y, x) ? (data[(c * height + y) * width + x] ?? Number.NaN) : 0),
  };
}
