import { stateDict } from '../network/state-dict.js';
import { UnrecognisedError } from '../network/unrecognised.js';
import { hasResNetNames, recogniseResNet } from '../resnet/recognise.js';
import type { CfgName } from '../vgg/configs.js';
import { type KnownOptions, recogniseVgg } from '../vgg/recognise.js';
import type { Checkpoint } from '../weights/checkpoint.js';
import { matchStateDict } from '../weights/match.js';
import { type Architecture, type BuilderName, buildArchitecture, builderNames } from './architecture.js';

/** The network that a checkpoint belongs to. */
export interface Recognised {
  readonly architecture: Architecture;
  /** torchvision's builder if it makes this network (whatever the number of classes), else the name of the cfg. */
  readonly name: BuilderName | CfgName | undefined;
  /** What the checkpoint does not show and was assumed: whole sentences. */
  readonly notes: readonly string[];
}

/**
 * Finds the network that a checkpoint belongs to, by the names and shapes of its tensors alone. The checkpoint fits the
 * result as strictly as it must to be loaded.
 * @throws UnrecognisedError | CheckpointError that begins with the path and names what does not fit
 */
export function recogniseCheckpoint(checkpoint: Checkpoint, known?: KnownOptions): Recognised {
  const recognised = withPath(checkpoint.path, () => recognise(checkpoint, known));
  matchStateDict(stateDict(buildArchitecture(recognised.architecture)), checkpoint);
  return recognised;
}

/** `vgg16_bn`, or `a VGG of cfg A-LRN without batch norm, pool 7 x 7, hidden 4096`. */
export function titleOf({ name, architecture }: Recognised): string {
  if ('builder' in architecture || builderNames.some((builder) => builder === name)) return `${name}`;
  const { cfg, batchNorm, pool, hidden } = architecture;
  const norm = batchNorm ? 'with batch norm' : 'without batch norm';
  return `a VGG of cfg ${name ?? cfg.join(',')} ${norm}, pool ${pool.join(' x ')}, hidden ${hidden}`;
}

function recognise({ tensors }: Checkpoint, known?: KnownOptions): Recognised {
  if (hasResNetNames(tensors)) {
    const { name, classes } = recogniseResNet(tensors);
    return { architecture: { builder: name, classes }, name, notes: [] };
  }
  const { options, name, notes } = recogniseVgg(tensors, known);
  return { architecture: options, name, notes };
}

function withPath<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof UnrecognisedError)) throw error;
    throw new UnrecognisedError(`${path}: ${error.message}`, { cause: error });
  }
}
