import type { EngineSpec } from '../../src/engines/engine.js';
import { type Layer, unknownLayer } from '../../src/network/layer.js';
import { earlier } from '../../src/network/shapes.js';

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
  const outputs = new Map<string, Volume>();
  const end = layers.reduce((before, layer) => {
    const input = layer.input === undefined ? before : earlier(outputs, layer.input);
    const output = naiveLayer(layer, input, outputs, weights);
    outputs.set(layer.name, output);
    return output;
  }, start);
  return Array.from({ length: end.channels }, (_, index) => end.at(index, 0, 0));
}

function naiveLayer(
  layer: Layer,
  input: Volume,
  outputs: ReadonlyMap<string, Volume>,
  weights: ReadonlyMap<string, Float32Array>,
): Volume {
  const { channels, height, width, at } = input;
  const parameter = (name: string) => {
    const values = weights.get(`${layer.name}.${name}`);
    return (index: number) => values?.[index] ?? Number.NaN;
  };
  switch (layer.kind) {
    case 'conv': {
      const { kernel, stride, padding } = layer;
      const [weight, bias] = [parameter('weight'), layer.bias ? parameter('bias') : () => 0];
      const places = (extent: number) => Math.floor((extent + 2 * padding - kernel) / stride) + 1;
      return volume(layer.outChannels, places(height), places(width), (out, y, x) => {
        let sum = bias(out);
        for (let c = 0; c < channels; c++)
          for (let ky = 0; ky < kernel; ky++)
            for (let kx = 0; kx < kernel; kx++)
              sum +=
                weight(((out * channels + c) * kernel + ky) * kernel + kx) *
                at(c, y * stride + ky - padding, x * stride + kx - padding);
        return sum;
      });
    }
    case 'batchnorm': {
      const [weight, bias] = [parameter('weight'), parameter('bias')];
      const [mean, variance] = [parameter('running_mean'), parameter('running_var')];
      return volume(
        channels,
        height,
        width,
        (c, y, x) => ((at(c, y, x) - mean(c)) / Math.sqrt(variance(c) + layer.eps)) * weight(c) + bias(c),
      );
    }
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
    case 'maxpool': {
      const { kernel, stride, padding } = layer;
      const places = (extent: number) => Math.floor((extent + 2 * padding - kernel) / stride) + 1;
      return volume(channels, places(height), places(width), (c, y, x) => {
        let largest = Number.NEGATIVE_INFINITY;
        for (let py = y * stride - padding; py < y * stride - padding + kernel; py++)
          for (let px = x * stride - padding; px < x * stride - padding + kernel; px++)
            if (py >= 0 && py < height && px >= 0 && px < width) largest = Math.max(largest, at(c, py, px));
        return largest;
      });
    }
    case 'add': {
      const other = earlier(outputs, layer.other);
      return volume(channels, height, width, (c, y, x) => at(c, y, x) + other.at(c, y, x));
    }
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
    case 'linear': {
      const [weight, bias] = [parameter('weight'), parameter('bias')];
      return volume(layer.outFeatures, 1, 1, (out) => {
        let sum = bias(out);
        for (let index = 0; index < channels; index++) sum += weight(out * channels + index) * at(index, 0, 0);
        return sum;
      });
    }
    case 'dropout':
      return input;
    default:
      return unknownLayer(layer);
  }
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
