import { inputChannels, type Layer, type Layered } from '../network/layer.js';
import { checkSize } from '../network/sizes.js';
import { expansion, type ResNetConfig } from './configs.js';

export interface ResNetOptions extends ResNetConfig {
  readonly classes: number;
}

/**
 * The stem, the stages layer1, layer2 ..., and the head, as in torchvision.models.resnet.ResNet with bottleneck blocks.
 * What torch does by a function, or does again with the same module, has the name that torchvision gives it in
 * torchvision.models.feature_extraction: `flatten`, `layer1.0.add`, `layer1.0.relu_1`.
 * @throws TypeError | RangeError that says what is bad about `classes`
 */
export function buildResNet({ stem, stages, classes }: ResNetOptions): ResNetOptions & Layered {
  checkSize('classes', classes);
  const layers: Layer[] = [
    conv('conv1', { inChannels: inputChannels, outChannels: stem, kernel: 7, stride: 2 }),
    batchNorm('bn1', stem),
    { kind: 'relu', name: 'relu' },
    { kind: 'maxpool', name: 'maxpool', kernel: 3, stride: 2, padding: 1 },
  ];
  let channels = stem;
  for (const [index, { blocks, width, stride }] of stages.entries()) {
    for (let block = 0; block < blocks; block++) {
      const input = layers.at(-1)?.name ?? '';
      const sizes = { inChannels: channels, width, stride: block === 0 ? stride : 1 } as const;
      layers.push(...bottleneck(`layer${index + 1}.${block}`, input, sizes));
      channels = expansion * width;
    }
  }
  layers.push(
    { kind: 'avgpool', name: 'avgpool', output: [1, 1] },
    { kind: 'flatten', name: 'flatten' },
    { kind: 'linear', name: 'fc', inFeatures: channels, outFeatures: classes },
  );
  return { stem, stages, classes, layers };
}

/**
 * torchvision.models.resnet.Bottleneck. The stride is that of the 3x3 convolution (the paper has it in the first 1x1).
 * The layers stand in the order of the state dict, which is one in which they can run.
 */
function bottleneck(
  name: string,
  input: string,
  { inChannels, width, stride }: { inChannels: number; width: number; stride: 1 | 2 },
): Layer[] {
  const outChannels = expansion * width;
  const downsample: Layer[] =
    stride === 1 && inChannels === outChannels
      ? []
      : [
          { ...conv(`${name}.downsample.0`, { inChannels, outChannels, kernel: 1, stride }), input },
          batchNorm(`${name}.downsample.1`, outChannels),
        ];
  return [
    conv(`${name}.conv1`, { inChannels, outChannels: width, kernel: 1, stride: 1 }),
    batchNorm(`${name}.bn1`, width),
    { kind: 'relu', name: `${name}.relu` },
    conv(`${name}.conv2`, { inChannels: width, outChannels: width, kernel: 3, stride }),
    batchNorm(`${name}.bn2`, width),
    { kind: 'relu', name: `${name}.relu_1` },
    conv(`${name}.conv3`, { inChannels: width, outChannels, kernel: 1, stride: 1 }),
    batchNorm(`${name}.bn3`, outChannels),
    ...downsample,
    { kind: 'add', name: `${name}.add`, input: `${name}.bn3`, other: downsample.at(-1)?.name ?? input },
    { kind: 'relu', name: `${name}.relu_2` },
  ];
}

const paddings = { 1: 0, 3: 1, 7: 3 } as const;

type Conv = Extract<Layer, { kind: 'conv' }>;

/** Without a bias, since batch norm follows; padded so that the stride alone makes the picture smaller. */
function conv(name: string, sizes: Pick<Conv, 'inChannels' | 'outChannels' | 'kernel' | 'stride'>): Conv {
  return { kind: 'conv', name, ...sizes, padding: paddings[sizes.kernel], bias: false };
}

function batchNorm(name: string, channels: number): Layer {
  return { kind: 'batchnorm', name, channels, eps: 1e-5 };
}
