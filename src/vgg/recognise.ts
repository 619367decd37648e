import { type NamedShape, sizeText, someOf, UnrecognisedError } from '../network/unrecognised.js';
import { type BuilderName, builders, type Cfg, type CfgItem, type CfgName, cfgs, conv1Channels } from './configs.js';
import { builderOptions, buildNetwork, type NetworkOptions } from './network.js';

/** What the user knows of a network and its checkpoint does not show, or shows in several ways. */
export interface KnownOptions {
  readonly cfg?: Cfg | undefined;
  readonly pool?: readonly [number, number] | undefined;
}

/** The network that a checkpoint belongs to. */
export interface RecognisedVgg {
  readonly options: NetworkOptions;
  /** torchvision's builder if it makes this network (whatever the number of classes), else the name of the cfg. */
  readonly name: BuilderName | CfgName | undefined;
  /** What the checkpoint does not show and was assumed: whole sentences. */
  readonly notes: readonly string[];
}

const ownKey =
  /^features\.\d+\.(weight|bias|running_mean|running_var|num_batches_tracked)$|^classifier\.[036]\.(weight|bias)$/;
const linearNames = ['classifier.0', 'classifier.3', 'classifier.6'] as const;

/**
 * Finds the network by the names and shapes of its state dict. Layers without weights are known by the numbers that
 * they leave out in `features.N`. What remains is left to a strict comparison with the state dict of the result: the
 * names and shapes that do not follow from it.
 * @throws UnrecognisedError that says what does not fit
 */
export function recogniseVgg(tensors: readonly NamedShape[], known: KnownOptions = {}): RecognisedVgg {
  const convolutions = convolutionsOf(tensors);
  checkKeys(tensors, convolutions);
  const batchNorm = tensors.some(({ name }) => /^features\..*\.running_mean$/.test(name));
  const cfg = known.cfg ?? cfgOf(convolutions, batchNorm);
  const [first, , last] = linearNames.map((name) => linearOf(tensors, name)) as [Linear, Linear, Linear];
  const pool = poolOf(first.inFeatures, lastChannels(cfg), known.pool);
  const options = { cfg, batchNorm, pool, hidden: first.outFeatures, classes: last.outFeatures };
  checkBuildable(options);

  const cfgName = nameOf(cfg);
  const notes: string[] = [];
  if (known.cfg === undefined && cfgName === undefined) notes.push(cfgNote);
  if (known.pool === undefined && !isSevenBySeven(pool) && pool[0] > 1) {
    notes.push(
      `A checkpoint shows the area of the pool only: ${pool[0] * pool[1]} was taken for ${pool.join(' x ')}. Give the pool if that is wrong.`,
    );
  }
  return { options, name: builderOf(options, cfgName) ?? cfgName, notes };
}

const cfgNote =
  'A checkpoint does not show layers without weights. Where one number is left out in features, max pooling was assumed; ' +
  'where two are, local response normalisation and max pooling; and max pooling after the last convolution. Give the cfg if that is wrong.';

interface Convolution extends NamedShape {
  /** The N of `features.N`. */
  readonly index: number;
}

/** By their numbers. What is no convolution must have the statistics of batch norm beside it. */
function convolutionsOf(tensors: readonly NamedShape[]): Convolution[] {
  const names = new Set(tensors.map(({ name }) => name));
  return tensors
    .flatMap(({ name, shape }) => {
      const index = /^features\.(\d+)\.weight$/.exec(name)?.[1];
      if (index === undefined || names.has(`features.${index}.running_mean`)) return [];
      if (shape.length === 4) return [{ name, shape, index: Number(index) }];
      throw new UnrecognisedError(
        `${name} has the shape ${sizeText(shape)}; allowed is that of a convolution, [out, in, height, width].`,
      );
    })
    .sort((a, b) => a.index - b.index);
}

function checkKeys(tensors: readonly NamedShape[], convolutions: readonly Convolution[]): void {
  const names = tensors.map(({ name }) => name);
  if (convolutions.length === 0) throw new UnrecognisedError(strangerText(names));
  const isHead = (name: string) => name.startsWith('classifier.');
  const heads = names.filter(isHead);
  const others = names.filter((name) => !ownKey.test(name));
  if (heads.length === 0) {
    const beside = others.length === 0 ? '' : ` Its other keys are ${someOf(others)}.`;
    throw new UnrecognisedError(
      `It has features, but no classifier (${linearNames.join(', ')}): a feature extractor cannot classify.${beside}`,
    );
  }
  if (others.some(isHead) || linearNames.some((name) => !names.includes(`${name}.weight`))) {
    throw new UnrecognisedError(
      `The keys of its classifier are ${someOf(heads)}; a VGG's are weight and bias of ${linearNames.join(', ')}.`,
    );
  }
  if (others.length > 0) throw new UnrecognisedError(`It has keys that no VGG has: ${someOf(others)}.`);
}

function strangerText(names: readonly string[]): string {
  const [, prefix] =
    names.map((name) => /^(.+\.)features\.\d+\.weight$/.exec(name)).find((match) => match !== null) ?? [];
  if (prefix !== undefined) {
    return `Its keys begin with "${prefix}": save the state dict of the VGG itself, whose keys begin with "features.".`;
  }
  if (names.includes('0.weight')) {
    return `Its keys are ${someOf(names)}: those of a part of a network. Save the state dict of the whole, with features and classifier.`;
  }
  return `It is not of a VGG, which has features.0.weight: its first keys are ${someOf(names) || 'none'}.`;
}

/** What stands between two convolutions, by how many numbers are left out: as in the paper's networks. */
const fillers: readonly (readonly CfgItem[])[] = [[], ['M'], ['LRN', 'M']];

function cfgOf(convolutions: readonly Convolution[], batchNorm: boolean): Cfg {
  // What makeLayers makes of a convolution: conv, [batch norm], ReLU.
  const modulesEach = batchNorm ? 3 : 2;
  let next = 0;
  const items = convolutions.flatMap((convolution): CfgItem[] => {
    const { name, index } = convolution;
    const filler = fillers[index - next];
    if (filler === undefined) throw new UnrecognisedError(gapText(name, index - next, modulesEach));
    next = index + modulesEach;
    return [...filler, itemOf(convolution)];
  });
  return [...items, 'M'];
}

function gapText(name: string, gap: number, modulesEach: number): string {
  return gap < 0
    ? `${name} comes too early: each convolution takes ${modulesEach} numbers, ${modulesEach === 3 ? 'with batch norm' : 'with its ReLU'}.`
    : `${gap} layers without weights come before ${name}, and a checkpoint does not show which: give the cfg.`;
}

function itemOf({ name, shape }: Convolution): CfgItem {
  const [channels = 0, , height, width] = shape;
  if (height === 3 && width === 3) return channels;
  if (height === 1 && width === 1) return `conv1-${channels}`;
  throw new UnrecognisedError(`${name} has the shape ${sizeText(shape)}; a VGG's convolutions are 3 x 3 or 1 x 1.`);
}

interface Linear {
  readonly outFeatures: number;
  readonly inFeatures: number;
}

function linearOf(tensors: readonly NamedShape[], layer: string): Linear {
  const name = `${layer}.weight`;
  const shape = tensors.find((tensor) => tensor.name === name)?.shape ?? [];
  const [outFeatures, inFeatures] = shape;
  if (shape.length !== 2 || outFeatures === undefined || inFeatures === undefined) {
    throw new UnrecognisedError(`${name} has the shape ${sizeText(shape)}; allowed is [out_features, in_features].`);
  }
  return { outFeatures, inFeatures };
}

/** [height, width] of what the classifier takes; a square unless it is known. */
function poolOf(inFeatures: number, channels: number, known?: readonly [number, number]): readonly [number, number] {
  const takes = `classifier.0.weight takes ${inFeatures} features: `;
  const area = inFeatures / channels;
  if (known !== undefined) {
    if (known[0] * known[1] === area) return known;
    throw new UnrecognisedError(`${takes}not ${known.join(' x ')} of each of the ${channels} last channels.`);
  }
  if (!Number.isInteger(area)) {
    throw new UnrecognisedError(`${takes}no multiple of the ${channels} channels of the last convolution.`);
  }
  const side = Math.sqrt(area);
  if (Number.isInteger(side)) return [side, side];
  throw new UnrecognisedError(
    `${takes}${area} of each of the ${channels} last channels, which is no square: give the pool.`,
  );
}

function checkBuildable(options: NetworkOptions): void {
  try {
    buildNetwork(options);
  } catch (error) {
    throw new UnrecognisedError((error as Error).message, { cause: error });
  }
}

function lastChannels(cfg: Cfg): number {
  const item = cfg.findLast((one) => one !== 'M' && one !== 'LRN') ?? 0;
  return typeof item === 'number' ? item : conv1Channels(item);
}

function nameOf(cfg: Cfg): CfgName | undefined {
  const names = Object.keys(cfgs) as CfgName[];
  return names.find((name) => String(cfgs[name]) === String(cfg));
}

function builderOf({ batchNorm, pool, hidden }: NetworkOptions, cfgName: CfgName | undefined): BuilderName | undefined {
  const names = Object.keys(builders) as BuilderName[];
  return names.find((name) => {
    const made = builders[name];
    const usual = builderOptions(name);
    return (
      made.cfg === cfgName &&
      made.batchNorm === batchNorm &&
      hidden === usual.hidden &&
      String(pool) === String(usual.pool)
    );
  });
}

function isSevenBySeven(pool: readonly [number, number]): boolean {
  return pool[0] === 7 && pool[1] === 7;
}
