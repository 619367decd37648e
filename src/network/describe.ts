import { type Layer, unknownLayer } from './layer.js';

/** What torch does by a function is no module, and not printed. */
type Module = Exclude<Layer, { kind: 'flatten' | 'add' }>;

/**
 * A tree of modules as torch.nn.Module.__repr__ of torch 2.14 shows it, without a newline at the end.
 * @param layers in the order in which torch registers its modules
 * @param typeOf the class of the container at a path (`features`, `layer1.0`; the network's own is empty)
 */
export function printTree(layers: readonly Layer[], typeOf: (path: string) => string): string {
  const modules = layers.filter((layer) => layer.kind !== 'flatten' && layer.kind !== 'add');
  return printContainer('', modules, typeOf);
}

function printContainer(path: string, modules: readonly Module[], typeOf: (path: string) => string): string {
  const prefix = path === '' ? '' : `${path}.`;
  const inside = modules.filter(({ name }) => name.startsWith(prefix));
  const children = new Set(inside.map(({ name }) => name.slice(prefix.length).replace(/\..*/, '')));
  const lines = [...children].map((child) => {
    const module = inside.find(({ name }) => name === prefix + child);
    const text = module ? printModule(module) : printContainer(prefix + child, inside, typeOf);
    return `(${child}): ${text}`.replaceAll(/^/gm, '  ');
  });
  return [`${typeOf(path)}(`, ...lines, ')'].join('\n');
}

/** What no network here changes (dilation, momentum, inplace) is text. */
function printModule(layer: Module): string {
  switch (layer.kind) {
    case 'conv': {
      const { inChannels, outChannels, kernel, stride, padding } = layer;
      const parts = [inChannels, outChannels, `kernel_size=(${kernel}, ${kernel})`, `stride=(${stride}, ${stride})`];
      if (padding !== 0) parts.push(`padding=(${padding}, ${padding})`);
      if (!layer.bias) parts.push('bias=False');
      return `Conv2d(${parts.join(', ')})`;
    }
    case 'batchnorm':
      return `BatchNorm2d(${layer.channels}, eps=${pythonFloat(layer.eps)}, momentum=0.1, affine=True, bias=True, track_running_stats=True)`;
    case 'relu':
      return 'ReLU(inplace=True)';
    case 'lrn': {
      const [alpha, beta, k] = [layer.alpha, layer.beta, layer.k].map(pythonFloat);
      return `LocalResponseNorm(${layer.size}, alpha=${alpha}, beta=${beta}, k=${k})`;
    }
    case 'maxpool': {
      const { kernel, stride, padding } = layer;
      return `MaxPool2d(kernel_size=${kernel}, stride=${stride}, padding=${padding}, dilation=1, ceil_mode=False)`;
    }
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
