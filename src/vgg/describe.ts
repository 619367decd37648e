import { type Layer, type Layered, unknownLayer } from './layers.js';

type Module = Exclude<Layer, { kind: 'flatten' }>;

/** What Python shows for `print(model)` (torch.nn.Module.__repr__ of torch 2.14), without a newline at the end. */
export function printNetwork(network: Layered): string {
  const modules = network.layers.filter((layer) => layer.kind !== 'flatten');
  const children = (parent: string) => modules.filter(({ name }) => name.startsWith(parent));
  const print = (module: Module) => `(${module.name.split('.').at(-1)}): ${printModule(module)}`;
  return [
    'VGG(',
    '  (features): Sequential(',
    ...children('features.').map((module) => `    ${print(module)}`),
    '  )',
    ...children('avgpool').map((module) => `  ${print(module)}`),
    '  (classifier): Sequential(',
    ...children('classifier.').map((module) => `    ${print(module)}`),
    '  )',
    ')',
  ].join('\n');
}

/** What no VGG changes (stride, momentum, inplace) is text. */
function printModule(layer: Module): string {
  switch (layer.kind) {
    case 'conv': {
      const { inChannels, outChannels, kernel, padding } = layer;
      const padded = padding === 0 ? '' : `, padding=(${padding}, ${padding})`;
      return `Conv2d(${inChannels}, ${outChannels}, kernel_size=(${kernel}, ${kernel}), stride=(1, 1)${padded})`;
    }
    case 'batchnorm':
      return `BatchNorm2d(${layer.channels}, eps=${pythonFloat(layer.eps)}, momentum=0.1, affine=True, bias=True, track_running_stats=True)`;
    case 'relu':
      return 'ReLU(inplace=True)';
    case 'lrn': {
      const [alpha, beta, k] = [layer.alpha, layer.beta, layer.k].map(pythonFloat);
      return `LocalResponseNorm(${layer.size}, alpha=${alpha}, beta=${beta}, k=${k})`;
    }
    case 'maxpool':
      return 'MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)';
    case 'avgpool':
      return `AdaptiveAvgPool2d(output_size=(${layer.output.join(', ')}))`;
    case 'linear':
      return `Linear(in_features=${layer.inFeatures}, out_features=${layer.outFeatures}, bias=True)`;
    case 'dropout':
      return `Dropout(p=${pythonFloat(layer.p)}, inplace=False)`;
    default:
      return unknownLayer(layer);
  }
}

/** Python's repr has JavaScript's digits, but `2` is `2.0`, and what is below 1e-4 has an exponent of two digits. */
function pythonFloat(value: number): string {
  if (Number.isInteger(value)) return `${value}.0`;
  if (Math.abs(value) >= 1e-4) return String(value);
  return value.toExponential().replace(/e-(\d)$/, 'e-0$1');
}
