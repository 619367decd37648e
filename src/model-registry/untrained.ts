import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Layer, Layered } from '../network/layer.js';
import { stateDict } from '../network/state-dict.js';
import { elementCount } from '../tensor.js';
import { readCheckpoint } from '../weights/checkpoint.js';
import { CheckpointError } from '../weights/checkpoint-error.js';
import { matchStateDict } from '../weights/match.js';
import { Random } from '../weights/random.js';
import { writeSafetensors } from '../weights/safetensors-writer.js';

/** How torchvision leaves the linear layers of a family: VGG draws them anew, ResNet keeps what torch.nn.Linear has. */
export type LinearInit = 'normal' | 'torch';

type Distribution =
  | { readonly kind: 'normal'; readonly std: number }
  | { readonly kind: 'uniform'; readonly bound: number }
  | { readonly kind: 'constant'; readonly value: number };

/** One float32 tensor of a new network. */
export interface InitialTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly distribution: Distribution;
}

/** Elements that are drawn at once; even, so that the numbers do not depend on it. */
const blockElements = 1 << 18;

/**
 * What torchvision.models gives a network without weights (VGG.__init__, ResNet.__init__): convolutions by Kaiming,
 * normal, fan_out, for ReLU; batch norm ones and zeros; linear layers N(0, 0.01^2), or torch's own
 * U(-1/sqrt(fan_in), 1/sqrt(fan_in)) with the bias too; other biases 0.
 */
export function initialTensors({ layers }: Layered, linear: LinearInit): InitialTensor[] {
  return layers.flatMap((layer) =>
    stateDict({ layers: [layer] })
      .filter(({ dtype }) => dtype === 'float32')
      .map(({ name, shape }) => ({
        name,
        shape,
        distribution: distributionOf(layer, name.slice(layer.name.length + 1), linear),
      })),
  );
}

function distributionOf(layer: Layer, part: string, linear: LinearInit): Distribution {
  if (layer.kind === 'conv' && part === 'weight') {
    return { kind: 'normal', std: Math.sqrt(2 / (layer.outChannels * layer.kernel ** 2)) };
  }
  if (layer.kind === 'linear' && linear === 'torch') {
    return { kind: 'uniform', bound: 1 / Math.sqrt(layer.inFeatures) };
  }
  if (layer.kind === 'linear' && part === 'weight') return { kind: 'normal', std: 0.01 };
  const isOne = layer.kind === 'batchnorm' && (part === 'weight' || part === 'running_var');
  return { kind: 'constant', value: isOne ? 1 : 0 };
}

/**
 * The file with the initial weights of a network: written as safetensors into `cacheDir`, or found there from an earlier
 * start. The same network and seed give the same bytes.
 * @returns its path. Throws what the file system throws, or the reason of `signal`.
 */
export async function untrainedWeights(
  network: Layered,
  { linear, seed, cacheDir, signal }: { linear: LinearInit; seed: number; cacheDir: string; signal?: AbortSignal },
): Promise<string> {
  const tensors = initialTensors(network, linear);
  const hash = createHash('sha256')
    .update(JSON.stringify([seed, tensors]))
    .digest('hex')
    .slice(0, 16);
  const path = join(cacheDir, `untrained-${hash}.safetensors`);
  if (await holds(path, network)) return path;
  await mkdir(cacheDir, { recursive: true });
  const random = new Random(seed);
  await writeSafetensors(
    path,
    tensors.map(({ name, shape, distribution }) => ({
      name,
      shape,
      chunks: draw(random, distribution, elementCount(shape), signal),
    })),
  );
  return path;
}

/** Whether the file is there and whole; a damaged one is written anew. */
async function holds(path: string, network: Layered): Promise<boolean> {
  try {
    matchStateDict(stateDict(network), await readCheckpoint(path));
    return true;
  } catch (error) {
    if (error instanceof CheckpointError) return false;
    throw error;
  }
}

/** A chunk is only valid until the next is asked for. */
function* draw(random: Random, distribution: Distribution, count: number, signal?: AbortSignal) {
  const block = new Float32Array(Math.min(count, blockElements));
  for (let done = 0; done < count; done += block.length) {
    signal?.throwIfAborted();
    const values = block.subarray(0, Math.min(block.length, count - done));
    switch (distribution.kind) {
      case 'normal':
        random.fillNormal(values, distribution.std);
        break;
      case 'uniform':
        random.fillUniform(values, distribution.bound);
        break;
      case 'constant':
        values.fill(distribution.value);
        break;
      default:
        distribution satisfies never;
    }
    yield values;
  }
}
