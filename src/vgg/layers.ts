import { inputChannels, type Layer } from '../network/layer.js';
import { type Cfg, conv1Channels } from './configs.js';

// The paper takes its parameters from Krizhevsky: size 5, alpha 1e-4, beta 0.75, k 2. He multiplies the plain sum of
// squares by alpha; torch (and ONNX) divide alpha by the size first, hence 5e-4 here for the same numbers.
const lrn = { kind: 'lrn', size: 5, alpha: 5e-4, beta: 0.75, k: 2 } as const;

/** The features part of a network, as torchvision's make_layers builds it. */
export function makeLayers(cfg: Cfg, options: { readonly batchNorm: boolean }): Layer[] {
  const layers: Layer[] = [];
  const nextName = () => `features.${layers.length}`;
  let inChannels = inputChannels;
  for (const item of cfg) {
    if (item === 'M') {
      layers.push({ kind: 'maxpool', name: nextName(), kernel: 2, stride: 2, padding: 0 });
    } else if (item === 'LRN') {
      layers.push({ ...lrn, name: nextName() });
    } else {
      const shape =
        typeof item === 'number'
          ? ({ outChannels: item, kernel: 3, padding: 1 } as const)
          : ({ outChannels: conv1Channels(item), kernel: 1, padding: 0 } as const);
      layers.push({ kind: 'conv', name: nextName(), inChannels, ...shape, stride: 1, bias: true });
      if (options.batchNorm) {
        layers.push({ kind: 'batchnorm', name: nextName(), channels: shape.outChannels, eps: 1e-5 });
      }
      layers.push({ kind: 'relu', name: nextName() });
      inChannels = shape.outChannels;
    }
  }
  return layers;
}
