import { inputChannels, type Layer, type Layered } from '../network/layer.js';
import { checkSize } from '../network/sizes.js';
import { parameterCount } from '../network/state-dict.js';
import { type BuilderName, builders, type Cfg, cfgs, parseCfg } from './configs.js';
import { makeLayers } from './layers.js';

/** What torchvision's VGG is made of. */
export interface NetworkOptions {
  readonly cfg: Cfg;
  readonly batchNorm: boolean;
  /** [height, width] that the adaptive average pooling hands to the classifier. */
  readonly pool: readonly [number, number];
  /** Width of the classifier's two hidden layers. */
  readonly hidden: number;
  readonly classes: number;
}

/** The layers in the order in which they run, and the options that they were made from. */
export interface Network extends NetworkOptions, Layered {}

const mostParameters = 2 ** 31;

/** What `torchvision.models[builder]()` is made of. */
export function builderOptions(builder: BuilderName): NetworkOptions {
  const { cfg, batchNorm } = builders[builder];
  return { cfg: cfgs[cfg], batchNorm, pool: [7, 7], hidden: 4096, classes: 1000 };
}

/**
 * features, avgpool, flatten, classifier, as in torchvision.models.vgg.VGG. torch flattens by a function, not by a
 * module: the layer `flatten` is neither printed nor numbered.
 * @throws TypeError | RangeError that says which option is bad, what was seen and what is allowed
 */
export function buildNetwork(options: NetworkOptions): Network {
  const { batchNorm, pool, hidden, classes } = options;
  const cfg = parseCfg(options.cfg);
  checkSize('pool[0]', pool[0]);
  checkSize('pool[1]', pool[1]);
  checkSize('hidden', hidden);
  checkSize('classes', classes);

  const features = makeLayers(cfg, { batchNorm });
  const channels = features.findLast((layer) => layer.kind === 'conv')?.outChannels ?? inputChannels;
  const layers: Layer[] = [
    ...features,
    { kind: 'avgpool', name: 'avgpool', output: pool },
    { kind: 'flatten', name: 'flatten' },
    { kind: 'linear', name: 'classifier.0', inFeatures: channels * pool[0] * pool[1], outFeatures: hidden },
    { kind: 'relu', name: 'classifier.1' },
    { kind: 'dropout', name: 'classifier.2', p: 0.5 },
    { kind: 'linear', name: 'classifier.3', inFeatures: hidden, outFeatures: hidden },
    { kind: 'relu', name: 'classifier.4' },
    { kind: 'dropout', name: 'classifier.5', p: 0.5 },
    { kind: 'linear', name: 'classifier.6', inFeatures: hidden, outFeatures: classes },
  ];

  const parameters = parameterCount({ layers });
  if (parameters > mostParameters) {
    throw new RangeError(
      `The network has ${parameters} parameters; allowed are at most ${mostParameters} (8 GiB of float32). ` +
        'Make cfg, pool or hidden smaller.',
    );
  }
  return { cfg, batchNorm, pool, hidden, classes, layers };
}
