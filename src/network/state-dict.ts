import { elementCount, type StateDictEntry } from '../tensor.js';
import { type Layer, type Layered, unknownLayer } from './layer.js';

/** Every parameter and buffer, in the order of torch's `model.state_dict()`. */
export function stateDict(network: Layered): StateDictEntry[] {
  return network.layers.flatMap(tensorsOf);
}

function tensorsOf(layer: Layer): StateDictEntry[] {
  const parameter = (name: string, shape: number[]) =>
    ({ name: `${layer.name}.${name}`, shape, kind: 'parameter', dtype: 'float32' }) as const;
  const buffer = (name: string, shape: number[], dtype: StateDictEntry['dtype']) =>
    ({ name: `${layer.name}.${name}`, shape, kind: 'buffer', dtype }) as const;
  switch (layer.kind) {
    case 'conv':
      return [
        parameter('weight', [layer.outChannels, layer.inChannels, layer.kernel, layer.kernel]),
        ...(layer.bias ? [parameter('bias', [layer.outChannels])] : []),
      ];
    case 'batchnorm':
      return [
        parameter('weight', [layer.channels]),
        parameter('bias', [layer.channels]),
        buffer('running_mean', [layer.channels], 'float32'),
        buffer('running_var', [layer.channels], 'float32'),
        buffer('num_batches_tracked', [], 'int64'),
      ];
    case 'linear':
      return [parameter('weight', [layer.outFeatures, layer.inFeatures]), parameter('bias', [layer.outFeatures])];
    case 'relu':
    case 'add':
    case 'lrn':
    case 'maxpool':
    case 'avgpool':
    case 'flatten':
    case 'dropout':
      return [];
    default:
      return unknownLayer(layer);
  }
}

/** torchvision's `num_params`: the elements of all parameters, without the buffers. */
export function parameterCount(network: Layered): number {
  return stateDict(network)
    .filter(({ kind }) => kind === 'parameter')
    .reduce((total, { shape }) => total + elementCount(shape), 0);
}
