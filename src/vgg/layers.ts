import { type Cfg, conv1Channels } from './configs.js';

/** A layer under torch's own name (`features.0`, `avgpool`, `classifier.6`), with what torch's module of that kind holds. */
export type Layer =
  | {
      readonly kind: 'conv';
      readonly name: string;
      readonly inChannels: number;
      readonly outChannels: number;
      readonly kernel: 1 | 3;
      readonly padding: 0 | 1;
    }
  | { readonly kind: 'batchnorm'; readonly name: string; readonly channels: number; readonly eps: number }
  | { readonly kind: 'relu'; readonly name: string }
  | {
      readonly kind: 'lrn';
      readonly name: string;
      readonly size: number;
      readonly alpha: number;
      readonly beta: number;
      readonly k: number;
    }
  | { readonly kind: 'maxpool'; readonly name: string }
  | { readonly kind: 'avgpool'; readonly name: string; readonly output: readonly [number, number] }
  | { readonly kind: 'flatten'; readonly name: string }
  | { readonly kind: 'linear'; readonly name: string; readonly inFeatures: number; readonly outFeatures: number }
  | { readonly kind: 'dropout'; readonly name: string; readonly p: number };

/** A network as far as its layers go: all that is counted, described or run needs no more. */
export interface Layered {
  readonly layers: readonly Layer[];
}

/** Red, green, blue. */
export const inputChannels = 3;

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
      layers.push({ kind: 'maxpool', name: nextName() });
    } else if (item === 'LRN') {
      layers.push({ ...lrn, name: nextName() });
    } else {
      const shape =
        typeof item === 'number'
          ? ({ outChannels: item, kernel: 3, padding: 1 } as const)
          : ({ outChannels: conv1Channels(item), kernel: 1, padding: 0 } as const);
      layers.push({ kind: 'conv', name: nextName(), inChannels, ...shape });
      if (options.batchNorm) {
        layers.push({ kind: 'batchnorm', name: nextName(), channels: shape.outChannels, eps: 1e-5 });
      }
      layers.push({ kind: 'relu', name: nextName() });
      inChannels = shape.outChannels;
    }
  }
  return layers;
}

/** Ends every switch over the kinds: a kind that a switch forgot does not compile. */
export function unknownLayer(layer: never): never {
  throw new TypeError(`unknown layer ${JSON.stringify(layer)}`);
}
