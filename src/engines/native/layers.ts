import { type Layer, unknownLayer } from '../../network/layer.js';
import type { NativeLayer, Place } from './addon.js';

/** Why the native engine does not run a network of these layers; undefined where it does. */
export function whyNotNative(layers: readonly Layer[]): string | undefined {
  for (const layer of layers) {
    const why = whyNot(layer);
    if (why !== undefined) return `${layer.name} ${why}`;
  }
  return undefined;
}

function whyNot(layer: Layer): string | undefined {
  if (layer.input !== undefined) return `does not read the layer before it, but ${layer.input}`;
  switch (layer.kind) {
    case 'conv': {
      const { kernel, stride, padding } = layer;
      if (stride === 1 && padding === (kernel - 1) / 2 && kernel <= 3) return undefined;
      return `is a ${kernel} x ${kernel} convolution of stride ${stride} and padding ${padding}`;
    }
    case 'maxpool': {
      const { kernel, padding } = layer;
      if (kernel === 2 && padding === 0) return undefined;
      return `is a ${kernel} x ${kernel} pooling with padding ${padding}`;
    }
    case 'add':
      return `adds the output of ${layer.other}`;
    case 'batchnorm':
    case 'relu':
    case 'lrn':
    case 'avgpool':
    case 'flatten':
    case 'linear':
    case 'dropout':
      return undefined;
    default:
      return unknownLayer(layer);
  }
}

/** Those that the addon is given, in its order: all but what does nothing at inference. */
export function layersRun(layers: readonly Layer[]): Layer[] {
  return layers.filter(({ kind }) => kind !== 'dropout');
}

/**
 * The layers of `layersRun` as the addon takes them.
 * @param place where the tensor of that name lies
 * @throws RangeError for a network that `whyNotNative` refuses
 */
export function nativeLayers(layers: readonly Layer[], place: (tensor: string) => Place): NativeLayer[] {
  const why = whyNotNative(layers);
  if (why !== undefined) throw new RangeError(`The native engine does not run this network: ${why}.`);
  return layersRun(layers).map((layer): NativeLayer => {
    const { name, kind } = layer;
    const parameter = (parameterName: string) => place(`${name}.${parameterName}`);
    switch (kind) {
      case 'conv':
        return {
          kind,
          in: layer.inChannels,
          out: layer.outChannels,
          kernel: layer.kernel,
          padding: layer.padding,
          weight: parameter('weight'),
          bias: layer.bias ? parameter('bias') : null,
        };
      case 'batchnorm':
        return {
          kind,
          channels: layer.channels,
          eps: layer.eps,
          weight: parameter('weight'),
          bias: parameter('bias'),
          running_mean: parameter('running_mean'),
          running_var: parameter('running_var'),
        };
      case 'relu':
      case 'maxpool':
      case 'flatten':
        return { kind };
      case 'lrn':
        return { kind, size: layer.size, alpha: layer.alpha, beta: layer.beta, k: layer.k };
      case 'avgpool':
        return { kind, output: layer.output };
      case 'linear':
        return {
          kind,
          in: layer.inFeatures,
          out: layer.outFeatures,
          weight: parameter('weight'),
          bias: parameter('bias'),
        };
      case 'dropout':
      case 'add':
        throw new TypeError(`${name} was left out or refused above`);
      default:
        return unknownLayer(layer);
    }
  });
}
