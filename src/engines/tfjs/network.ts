import { averagingMatrix } from '../../network/adaptive-pool.js';
import { inputChannels, type Layer, unknownLayer } from '../../network/layer.js';
import { earlier, outputShapes, type SlidingWindow } from '../../network/shapes.js';
import type { EngineSpec } from '../engine.js';
import { tensorsOf } from '../tensors.js';
import type { ExplicitPadding, TensorFlow, TfTensor } from './tensorflow.js';
import { convolutionWeights, linearWeights, WeightReader, type Weights } from './weights.js';

/** One or more layers that TensorFlow takes as one. */
interface Step {
  /** The earlier steps, by their place, whose outputs it takes; -1 is the normalised picture. */
  readonly inputs: readonly number[];
  readonly run: (...inputs: TfTensor[]) => TfTensor;
}

export interface TfNetwork {
  /** @param pixels int32 [n, size, size, 3] @returns [n, classes]; inside `tidy` it leaves nothing else behind */
  forward(pixels: TfTensor): TfTensor;
  dispose(): void;
}

/**
 * The network's weights on the device, and its operations in the order in which they run.
 * @throws RangeError when a tensor is missing, does not fit the network or its file; Error when a file cannot be read
 */
export function buildTfNetwork(tf: TensorFlow, spec: EngineSpec): TfNetwork {
  const onDevice: TfTensor[] = [];
  const reader = new WeightReader(tensorsOf(spec), spec.files);
  const toDevice: ToDevice = ({ values, shape }) => {
    const tensor = uploaded(tf, values, shape);
    onDevice.push(tensor);
    return tensor;
  };
  const dispose = () => {
    for (const tensor of onDevice.splice(0)) tensor.dispose();
  };
  try {
    const normalise = normalisation(tf, spec, toDevice);
    const steps = makeSteps(tf, spec, reader, toDevice);
    return { forward: (pixels) => runSteps(steps, normalise(pixels)), dispose };
  } catch (error) {
    dispose();
    throw error;
  } finally {
    reader.close();
  }
}

type ToDevice = (weights: Weights) => TfTensor;

/** TensorFlow takes over an array at its first use: by then the next one would be in memory too. */
function uploaded(tf: TensorFlow, values: Float32Array, shape: readonly number[]): TfTensor {
  const held = tf.tensor(values, [values.length], 'float32');
  const tensor = tf.reshape(held, shape);
  held.dispose();
  return tensor;
}

/** torchvision's convert_image_dtype and normalize, in their order and in float32. */
function normalisation(tf: TensorFlow, { mean, std }: EngineSpec, toDevice: ToDevice): (pixels: TfTensor) => TfTensor {
  const constant = (values: readonly number[]) =>
    toDevice({ values: Float32Array.from(values), shape: [values.length] });
  const [white, means, deviations] = [constant([255]), constant(mean), constant(std)];
  return (pixels) => tf.div(tf.sub(tf.div(tf.cast(pixels, 'float32'), white), means), deviations);
}

function makeSteps(tf: TensorFlow, spec: EngineSpec, reader: WeightReader, toDevice: ToDevice): Step[] {
  const named = new Set(spec.layers.flatMap((layer) => readByName(layer)));
  const shaped = outputShapes(spec, spec.inputSize);
  const steps: Step[] = [];
  /** The step that puts out what the layer of that name does. */
  const places = new Map<string, number>();
  /** The map that was flattened to what the next linear layer reads. */
  let flattened: readonly number[] | undefined;
  for (let index = 0; index < shaped.length; index++) {
    const { layer, inputShape } = shaped[index] as (typeof shaped)[number];
    let last: Layer = layer;
    /** The next layer if it is of that kind and alone reads the one before it: then both are one step. */
    const take = <Kind extends Layer['kind']>(kind: Kind): Extract<Layer, { kind: Kind }> | undefined => {
      const next = shaped[index + 1]?.layer;
      if (next?.kind !== kind || next.input !== undefined || named.has(last.name)) return undefined;
      index++;
      last = next;
      return next as Extract<Layer, { kind: Kind }>;
    };
    let run: Step['run'] | undefined;
    switch (layer.kind) {
      case 'conv': {
        const batchNorm = take('batchnorm');
        const activation = take('relu') && 'relu';
        const weights = convolutionWeights(reader, layer, batchNorm);
        const filter = toDevice(weights.filter);
        const bias = weights.bias && toDevice(weights.bias);
        const { stride: strides } = layer;
        const pad = layer.padding === 0 ? 'valid' : explicitPadding(layer);
        run = (x) => tf.fused.conv2d({ x, filter, strides, pad, bias, activation });
        break;
      }
      case 'batchnorm':
        throw new RangeError(`${layer.name} does not follow a convolution that only it reads`);
      case 'relu':
        run = (x) => tf.relu(x);
        break;
      case 'add': {
        const activation = take('relu');
        run = activation ? (a, b) => tf.relu(tf.add(a, b as TfTensor)) : (a, b) => tf.add(a, b as TfTensor);
        break;
      }
      case 'lrn': {
        // torch divides alpha by the size; TensorFlow does not.
        const { size, alpha, beta, k } = layer;
        if (size % 2 === 0) throw new RangeError(`${layer.name} has the even size ${size}`);
        run = (x) => tf.localResponseNormalization(x, (size - 1) / 2, k, alpha / size, beta);
        break;
      }
      case 'maxpool': {
        const { kernel, stride, padding } = layer;
        const outside = explicitPadding(layer);
        // The backend pools without padding only.
        run = (x) => tf.maxPool(padding === 0 ? x : tf.pad(x, outside, lowest), kernel, stride, 'valid');
        break;
      }
      case 'avgpool':
        run = adaptivePool(tf, inputShape, layer.output, toDevice);
        break;
      case 'flatten':
        flattened = inputShape;
        run = (x) => tf.reshape(x, [x.shape[0] ?? 0, -1]);
        break;
      case 'linear': {
        const activation = take('relu') && 'relu';
        const weights = linearWeights(reader, layer, flattened);
        flattened = undefined;
        const [matrix, bias] = [toDevice(weights.matrix), toDevice(weights.bias)];
        run = (a) => tf.fused.matMul({ a, b: matrix, transposeB: true, bias, activation });
        break;
      }
      case 'dropout':
        break;
      default:
        unknownLayer(layer);
    }
    if (run) {
      const before = layer.input === undefined ? steps.length - 1 : earlier(places, layer.input);
      steps.push({ inputs: layer.kind === 'add' ? [before, earlier(places, layer.other)] : [before], run });
    }
    places.set(last.name, steps.length - 1);
  }
  return steps;
}

/** Of the maps that a max pooling pads. Infinity times zero would be NaN in a later product. */
const lowest = -3.4028234663852886e38;

function explicitPadding({ padding }: SlidingWindow): ExplicitPadding {
  return [
    [0, 0],
    [padding, padding],
    [padding, padding],
    [0, 0],
  ];
}

function readByName(layer: Layer): string[] {
  const names = layer.input === undefined ? [] : [layer.input];
  return layer.kind === 'add' ? [...names, layer.other] : names;
}

/** A map is let go as soon as no later step reads it. */
function runSteps(steps: readonly Step[], picture: TfTensor): TfTensor {
  const lastReader = new Map(steps.flatMap(({ inputs }, index) => inputs.map((input) => [input, index])));
  const maps = new Map([[-1, picture]]);
  for (const [index, { inputs, run }] of steps.entries()) {
    maps.set(index, run(...inputs.map((input) => maps.get(input) as TfTensor)));
    for (const input of new Set(inputs)) {
      if (lastReader.get(input) !== index) continue;
      maps.get(input)?.dispose();
      maps.delete(input);
    }
  }
  return maps.get(steps.length - 1) as TfTensor;
}

/** Adaptive average pooling; where the output does not divide the input, by two products with constant matrices. */
function adaptivePool(
  tf: TensorFlow,
  [channels = inputChannels, height = 0, width = 0]: readonly number[],
  [rows, columns]: readonly [number, number],
  toDevice: ToDevice,
): ((x: TfTensor) => TfTensor) | undefined {
  if (height === rows && width === columns) return undefined;
  if (height % rows === 0 && width % columns === 0) {
    const window = [height / rows, width / columns] as const;
    return (x) => tf.avgPool(x, window, window, 'valid');
  }
  const averageRows = toDevice({ values: averagingMatrix(height, rows), shape: [1, rows, height] });
  const averageColumns = toDevice({ values: averagingMatrix(width, columns), shape: [1, columns, width] });
  return (x) => {
    const n = x.shape[0] ?? 0;
    const byRows = tf.matMul(averageRows, tf.reshape(x, [n, height, width * channels]));
    const byColumns = tf.matMul(averageColumns, tf.reshape(byRows, [n * rows, width, channels]));
    return tf.reshape(byColumns, [n, rows, columns, channels]);
  };
}
