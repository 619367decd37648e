import type { TensorSource } from '../../tensor.js';
import { bytesField, type Field, fieldHead, floatField, messageField, stringField, varintField } from './protobuf.js';

/** ONNX's IR version and operator set. Old enough for every runtime in use, new enough for every operator written here. */
const irVersion = 8;
const operatorSet = 17;

/** Field numbers of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), by message. */
const fields = {
  model: { irVersion: 1, producer: 2, graph: 7, operatorSet: 8 },
  operatorSet: { version: 2 },
  graph: { node: 1, name: 2, initializer: 5, input: 11, output: 12 },
  node: { input: 1, output: 2, name: 3, operator: 4, attribute: 5 },
  attribute: { name: 1, float: 2, int: 3, ints: 8, type: 20 },
  tensor: { dims: 1, dataType: 2, name: 8, rawData: 9, externalData: 13, dataLocation: 14 },
  entry: { key: 1, value: 2 },
  value: { name: 1, type: 2 },
  type: { tensor: 1 },
  tensorType: { elementType: 1, shape: 2 },
  shape: { dimension: 1 },
  dimension: { value: 1, parameter: 2 },
} as const;

const attributeType = { float: 1, int: 2, ints: 7 } as const;
const dataType = { float32: 1, uint8: 2 } as const;
const external = 1;

export type Attribute = { readonly int: number } | { readonly float: number } | { readonly ints: readonly number[] };

/** An input or output of the graph. A dimension that is a name is free. */
export interface GraphValue {
  readonly name: string;
  readonly type: keyof typeof dataType;
  readonly shape: readonly (number | string)[];
}

/** A piece of a model: bytes as they are, or those of a tensor, which lie in its file. */
export type Part = Buffer | TensorSource;

/** Collects the nodes and initialisers of one graph. Values are strings: the name of the node or tensor that makes them. */
export class GraphWriter {
  readonly #nodes: Field[] = [];
  readonly #initializers: Part[] = [];

  /** Adds a node with one output, which has the node's name. @returns that name */
  node(name: string, operator: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}): string {
    const f = fields.node;
    this.#nodes.push(
      messageField(fields.graph.node, [
        ...inputs.map((input) => stringField(f.input, input)),
        stringField(f.output, name),
        stringField(f.name, name),
        stringField(f.operator, operator),
        ...Object.entries(attributes).map(([key, value]) => messageField(f.attribute, attribute(key, value))),
      ]),
    );
    return name;
  }

  /** Adds a small float32 tensor that the model holds itself, row-major. @returns its name */
  constant(name: string, shape: readonly number[], values: readonly number[] | Float32Array): string {
    const raw = Buffer.alloc(values.length * 4);
    values.forEach((value, index) => {
      raw.writeFloatLE(value, index * 4);
    });
    return this.#initializer(name, shape, [bytesField(fields.tensor.rawData, raw)]);
  }

  /** Adds a tensor that stays where it is, in the file `tensor.path` relative to the session's folder of weights. @returns its name */
  external(tensor: TensorSource): string {
    const location = { location: tensor.path, offset: String(tensor.byteOffset), length: String(tensor.byteLength) };
    return this.#initializer(tensor.name, tensor.shape, [
      varintField(fields.tensor.dataLocation, external),
      ...Object.entries(location).map(([key, value]) =>
        messageField(fields.tensor.externalData, [
          stringField(fields.entry.key, key),
          stringField(fields.entry.value, value),
        ]),
      ),
    ]);
  }

  /** Adds a tensor that becomes part of the model: float32 bytes as they lie in its file. @returns its name */
  inline(tensor: TensorSource): string {
    return this.#initializer(
      tensor.name,
      tensor.shape,
      [fieldHead(fields.tensor.rawData, tensor.byteLength)],
      [tensor],
    );
  }

  #initializer(name: string, shape: readonly number[], data: readonly Field[], rest: readonly Part[] = []): string {
    const f = fields.tensor;
    const head = Buffer.concat([
      ...shape.map((extent) => varintField(f.dims, extent)),
      varintField(f.dataType, dataType.float32),
      stringField(f.name, name),
      ...data,
    ]);
    const byteLength = byteLengthOf([head, ...rest]);
    this.#initializers.push(fieldHead(fields.graph.initializer, byteLength), head, ...rest);
    return name;
  }

  /** @returns the pieces of a ModelProto in their order; all are buffers unless a tensor is inline */
  model(inputs: readonly GraphValue[], outputs: readonly GraphValue[]): Part[] {
    const f = fields.model;
    const graph = [
      stringField(fields.graph.name, 'network'),
      ...this.#nodes,
      ...this.#initializers,
      ...inputs.map((value) => messageField(fields.graph.input, graphValue(value))),
      ...outputs.map((value) => messageField(fields.graph.output, graphValue(value))),
    ];
    return [
      varintField(f.irVersion, irVersion),
      stringField(f.producer, 'vgg-serve'),
      messageField(f.operatorSet, [varintField(fields.operatorSet.version, operatorSet)]),
      fieldHead(f.graph, byteLengthOf(graph)),
      ...graph,
    ];
  }
}

export function byteLengthOf(parts: readonly Part[]): number {
  return parts.reduce((total, { byteLength }) => total + byteLength, 0);
}

function attribute(name: string, value: Attribute): Field[] {
  const f = fields.attribute;
  const typed = (type: number, values: Field[]) => [stringField(f.name, name), varintField(f.type, type), ...values];
  if ('float' in value) return typed(attributeType.float, [floatField(f.float, value.float)]);
  if ('int' in value) return typed(attributeType.int, [varintField(f.int, value.int)]);
  return typed(
    attributeType.ints,
    value.ints.map((int) => varintField(f.ints, int)),
  );
}

function graphValue({ name, type, shape }: GraphValue): Field[] {
  const dimensions = shape.map((extent) =>
    messageField(fields.shape.dimension, [
      typeof extent === 'number'
        ? varintField(fields.dimension.value, extent)
        : stringField(fields.dimension.parameter, extent),
    ]),
  );
  return [
    stringField(fields.value.name, name),
    messageField(fields.value.type, [
      messageField(fields.type.tensor, [
        varintField(fields.tensorType.elementType, dataType[type]),
        messageField(fields.tensorType.shape, dimensions),
      ]),
    ]),
  ];
}
