/** A row of bottleneck blocks. */
export interface Stage {
  readonly blocks: number;
  /** Channels of the two inner convolutions; a block puts out `expansion` times as many. */
  readonly width: number;
  /** Of the first block. */
  readonly stride: 1 | 2;
}

export interface ResNetConfig {
  /** Output channels of the first convolution. */
  readonly stem: number;
  readonly stages: readonly Stage[];
}

/** torchvision's Bottleneck.expansion. */
export const expansion = 4;

/**
 * Table 1 of He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), by the names in
 * torchvision.models.
 */
export const resnets = {
  resnet50: {
    stem: 64,
    stages: [
      { blocks: 3, width: 64, stride: 1 },
      { blocks: 4, width: 128, stride: 2 },
      { blocks: 6, width: 256, stride: 2 },
      { blocks: 3, width: 512, stride: 2 },
    ],
  },
} as const satisfies Record<string, ResNetConfig>;

export type ResNetName = keyof typeof resnets;
