import { averagingMatrix } from '../../network/adaptive-pool.js';
import { type Layer, unknownLayer } from '../../network/layer.js';
import { earlier, outputShapes, type SlidingWindow } from '../../network/shapes.js';
import type { EngineSpec } from '../engine.js';
import { tensorsOf } from '../tensors.js';
import { type Attribute, GraphWriter, type Part } from './onnx.js';

/** The names and shapes of the graph's ends: uint8 [n, size, size, 3] in, float32 [n, classes] out. */
export const inputName = 'pixels';
export const outputName = 'logits';

/** What the graph of a network is made from. */
export type GraphSpec = Pick<EngineSpec, 'layers' | 'inputSize' | 'classes' | 'mean' | 'std' | 'tensors'>;

/**
 * The network as the bytes of an ONNX ModelProto, normalisation included. The weights stay in their files: the `path`
 * of each tensor is written as it is, and ONNX wants it relative to a folder that the session names.
 * @throws RangeError when a tensor is missing or does not fit the network, or the input is too small
 */
export function onnxModel(spec: GraphSpec): Buffer {
  return Buffer.concat(graphParts(spec, 'external').filter((part) => Buffer.isBuffer(part)));
}

/** The pieces of the ModelProto; with weights `inline`, the tensors of the spec are among them. Throws as `onnxModel`. */
export function graphParts(spec: GraphSpec, weights: 'external' | 'inline'): Part[] {
  const graph = new GraphWriter();
  for (const tensor of tensorsOf(spec)) graph[weights](tensor);

  const values = new Map<string, string>();
  let value = normalised(graph, spec.mean, spec.std);
  for (const { layer, inputShape } of outputShapes(spec, spec.inputSize)) {
    const inputs = layer.input === undefined ? [value] : [earlier(values, layer.input)];
    if (layer.kind === 'add') inputs.push(earlier(values, layer.other));
    value = addLayer(graph, layer, inputs, inputShape);
    values.set(layer.name, value);
  }
  graph.node(outputName, 'Identity', [value]);

  const { inputSize, classes } = spec;
  return graph.model(
    [{ name: inputName, type: 'uint8', shape: ['n', inputSize, inputSize, 3] }],
    [{ name: outputName, type: 'float32', shape: ['n', classes] }],
  );
}

/** Bytes to [n, 3, size, size]: torchvision's convert_image_dtype and normalize, in their order and in float32. */
function normalised(graph: GraphWriter, mean: readonly number[], std: readonly number[]): string {
  const bytes = graph.node('bytes', 'Cast', [inputName], { to: { int: 1 } });
  const scaled = graph.node('scaled', 'Div', [bytes, graph.constant('white', [1], [255])]);
  const centred = graph.node('centred', 'Sub', [scaled, graph.constant('mean', [3], mean)]);
  const normal = graph.node('normal', 'Div', [centred, graph.constant('std', [3], std)]);
  return graph.node('channels_first', 'Transpose', [normal], { perm: { ints: [0, 3, 1, 2] } });
}

/** @returns the value that the layer puts out, given those that go in and the shape of the first without the batch */
function addLayer(graph: GraphWriter, layer: Layer, inputs: readonly string[], inputShape: readonly number[]): string {
  const { name } = layer;
  const [input = ''] = inputs;
  const parameter = (parameterName: string) => `${name}.${parameterName}`;
  switch (layer.kind) {
    case 'conv':
      return graph.node(
        name,
        'Conv',
        [...inputs, ...(layer.bias ? ['weight', 'bias'] : ['weight']).map(parameter)],
        windowAttributes(layer),
      );
    case 'batchnorm':
      return graph.node(
        name,
        'BatchNormalization',
        [...inputs, ...['weight', 'bias', 'running_mean', 'running_var'].map(parameter)],
        { epsilon: { float: layer.eps } },
      );
    case 'relu':
      return graph.node(name, 'Relu', inputs);
    case 'lrn':
      return graph.node(name, 'LRN', inputs, {
        size: { int: layer.size },
        alpha: { float: layer.alpha },
        beta: { float: layer.beta },
        bias: { float: layer.k },
      });
    case 'maxpool':
      return graph.node(name, 'MaxPool', inputs, windowAttributes(layer));
    case 'add':
      return graph.node(name, 'Add', inputs);
    case 'avgpool':
      return addAdaptivePool(graph, name, input, inputShape, layer.output);
    case 'flatten':
      return graph.node(name, 'Flatten', inputs, { axis: { int: 1 } });
    case 'linear':
      return graph.node(name, 'Gemm', [...inputs, parameter('weight'), parameter('bias')], { transB: { int: 1 } });
    case 'dropout':
      return input;
    default:
      return unknownLayer(layer);
  }
}

function windowAttributes({ kernel, stride, padding }: SlidingWindow): Record<string, Attribute> {
  return {
    kernel_shape: { ints: [kernel, kernel] },
    strides: { ints: [stride, stride] },
    pads: { ints: [padding, padding, padding, padding] },
  };
}

/** Adaptive average pooling; where the output does not divide the input, as rows @ x @ columns with constant matrices. */
function addAdaptivePool(
  graph: GraphWriter,
  name: string,
  input: string,
  [, height = 0, width = 0]: readonly number[],
  [rows, columns]: readonly [number, number],
): string {
  if (height === rows && width === columns) return input;
  if (height % rows === 0 && width % columns === 0) {
    const window = { ints: [height / rows, width / columns] };
    return graph.node(name, 'AveragePool', [input], { kernel_shape: window, strides: window });
  }
  const averageRows = graph.constant(`${name}.rows`, [rows, height], averagingMatrix(height, rows));
  const averageColumns = graph.constant(
    `${name}.columns`,
    [width, columns],
    transposed(averagingMatrix(width, columns), columns, width),
  );
  return graph.node(name, 'MatMul', [
    graph.node(`${name}.rows_averaged`, 'MatMul', [averageRows, input]),
    averageColumns,
  ]);
}

function transposed(matrix: Float32Array, rows: number, columns: number): Float32Array {
  return matrix.map((_, index) => matrix[(index % rows) * columns + Math.floor(index / rows)] ?? 0);
}
