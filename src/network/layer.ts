/** A layer under torch's own name (`features.0`, `layer1.0.conv1`, `fc`), with what torch's module of that kind holds. */
export type Layer = {
  readonly name: string;
  /** The earlier layer whose output this one takes. @default the layer before, or the picture */
  readonly input?: string;
} & (
  | {
      readonly kind: 'conv';
      readonly inChannels: number;
      readonly outChannels: number;
      readonly kernel: 1 | 3 | 7;
      readonly stride: 1 | 2;
      readonly padding: 0 | 1 | 3;
      readonly bias: boolean;
    }
  | { readonly kind: 'batchnorm'; readonly channels: number; readonly eps: number }
  | { readonly kind: 'relu' }
  | {
      readonly kind: 'lrn';
      readonly size: number;
      readonly alpha: number;
      readonly beta: number;
      readonly k: number;
    }
  | { readonly kind: 'maxpool'; readonly kernel: 2 | 3; readonly stride: 2; readonly padding: 0 | 1 }
  /** The input plus the output of the earlier layer `other`, of the same shape. */
  | { readonly kind: 'add'; readonly other: string }
  | { readonly kind: 'avgpool'; readonly output: readonly [number, number] }
  | { readonly kind: 'flatten' }
  | { readonly kind: 'linear'; readonly inFeatures: number; readonly outFeatures: number }
  | { readonly kind: 'dropout'; readonly p: number }
);

/** A network as far as its layers go, in the order in which they run: all that is counted, described or run needs no more. */
export interface Layered {
  readonly layers: readonly Layer[];
}

/** Red, green, blue. */
export const inputChannels = 3;

/** Ends every switch over the kinds: a kind that a switch forgot does not compile. */
export function unknownLayer(layer: never): never {
  throw new TypeError(`unknown layer ${JSON.stringify(layer)}`);
}
