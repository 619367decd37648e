import { type NamedShape, sizeText, someOf, UnrecognisedError } from '../network/unrecognised.js';
import { type ResNetConfig, type ResNetName, resnets } from './configs.js';

/** Whether a state dict has the names of torchvision's ResNets. */
export function hasResNetNames(tensors: readonly NamedShape[]): boolean {
  const names = new Set(tensors.map(({ name }) => name));
  return names.has('conv1.weight') && names.has('layer1.0.conv1.weight');
}

/**
 * Finds the network by the names and shapes of its state dict. What is left to a strict comparison with the state dict
 * of the result: the names and shapes that do not follow from it.
 * @throws UnrecognisedError that says what does not fit
 */
export function recogniseResNet(tensors: readonly NamedShape[]): { name: ResNetName; classes: number } {
  const blocks = blocksOf(tensors);
  const bottlenecks = tensors.some(({ name }) => name === 'layer1.0.conv3.weight');
  const known = Object.keys(resnets) as ResNetName[];
  const name = known.find((one) => bottlenecks && String(blockCounts(resnets[one])) === String(blocks));
  if (name === undefined) {
    const kind = bottlenecks ? 'bottleneck' : 'basic';
    const allowed = known.map((one) => `${one} (${blockCounts(resnets[one]).join(', ')} bottleneck blocks)`);
    throw new UnrecognisedError(
      `It is a ResNet with ${blocks.join(', ')} ${kind} blocks; allowed is ${allowed.join(', ')}.`,
    );
  }
  checkWidth(tensors, resnets[name].stages[0].width, name);
  return { name, classes: classesOf(tensors) };
}

function blockCounts({ stages }: ResNetConfig): number[] {
  return stages.map(({ blocks }) => blocks);
}

/** How many blocks layer1, layer2, ... have. */
function blocksOf(tensors: readonly NamedShape[]): number[] {
  const counts: number[] = [];
  for (const { name } of tensors) {
    const [, stage, block] = /^layer(\d)\.(\d+)\./.exec(name) ?? [];
    if (stage === undefined) continue;
    counts[Number(stage) - 1] = Math.max(counts[Number(stage) - 1] ?? 0, Number(block) + 1);
  }
  return Array.from(counts, (count) => count ?? 0);
}

/** ResNeXt and Wide ResNet have the same names. */
function checkWidth(tensors: readonly NamedShape[], width: number, name: ResNetName): void {
  const inner = tensors.find((tensor) => tensor.name === 'layer1.0.conv2.weight');
  const expected = sizeText([width, width, 3, 3]);
  const seen = sizeText(inner?.shape ?? []);
  if (seen !== expected) {
    throw new UnrecognisedError(`layer1.0.conv2.weight has the shape ${seen}; that of ${name} is ${expected}.`);
  }
}

function classesOf(tensors: readonly NamedShape[]): number {
  const shape = tensors.find(({ name }) => name === 'fc.weight')?.shape;
  if (shape === undefined) {
    const heads = tensors.map(({ name }) => name).filter((name) => name.startsWith('fc.'));
    throw new UnrecognisedError(
      heads.length > 0
        ? `The keys of its head are ${someOf(heads)}; a ResNet's are fc.weight and fc.bias.`
        : 'It has no fc: a feature extractor cannot classify.',
    );
  }
  const [classes] = shape;
  if (shape.length === 2 && classes !== undefined) return classes;
  throw new UnrecognisedError(`fc.weight has the shape ${sizeText(shape)}; allowed is [out_features, in_features].`);
}
