import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EngineSpec } from '../../src/engines/engine.js';
import type { Network } from '../../src/model-registry/architecture.js';
import { stateDict } from '../../src/network/state-dict.js';
import { elementCount, type TensorSource } from '../../src/tensor.js';
import { type Cfg, type CfgItem, cfgs, conv1Channels } from '../../src/vgg/configs.js';
import { buildNetwork, type NetworkOptions } from '../../src/vgg/network.js';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { matchStateDict } from '../../src/weights/match.js';

const checkpoints = new URL('../../../test/fixtures/checkpoints/', import.meta.url);
const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

/** A network that PyTorch has saved, with pictures and what PyTorch answers for them in float64. */
export interface SmallNetwork {
  readonly name: string;
  readonly options: NetworkOptions;
  readonly inputSize: number;
  readonly n: number;
  /** [n, inputSize, inputSize, 3] */
  readonly pixels: Uint8Array;
  /** [n][classes] */
  readonly logits: readonly (readonly number[])[];
}

export function smallNetworks(): SmallNetwork[] {
  const rows = JSON.parse(readFileSync(new URL('small_networks.json', checkpoints), 'utf8')) as {
    name: string;
    cfg: Cfg;
    batch_norm: boolean;
    hidden: number;
    pool: [number, number];
    classes: number;
    size: number;
    pixels: string;
    pixels_shape: [number, number, number, number];
    logits_float64_reference: number[][];
  }[];
  return rows.map((row) => ({
    name: row.name,
    options: { cfg: row.cfg, batchNorm: row.batch_norm, pool: row.pool, hidden: row.hidden, classes: row.classes },
    inputSize: row.size,
    n: row.pixels_shape[0],
    pixels: readFileSync(new URL(row.pixels, checkpoints)),
    logits: row.logits_float64_reference,
  }));
}

/** What an engine needs for a small network, its weights lying in PyTorch's own file. */
export async function smallNetworkSpec(network: SmallNetwork, file: string): Promise<EngineSpec> {
  const checkpoint = await readCheckpoint(fileURLToPath(new URL(file, checkpoints)));
  const built = buildNetwork(network.options);
  const tensors = matchStateDict(stateDict(built), checkpoint).map((entry) => ({ ...entry, path: checkpoint.path }));
  return specOf(built, network.inputSize, tensors);
}

export function specOf(network: Network, inputSize: number, tensors: readonly TensorSource[]): EngineSpec {
  return {
    layers: network.layers,
    inputSize,
    classes: network.classes,
    ...imagenet,
    tensors,
    maxBatchSize: 4,
    threads: 1,
    prepack: false,
    precision: 'fp32',
  };
}

/** The paper's networks with a sixteenth of the channels. */
export function thinCfg(name: keyof typeof cfgs): Cfg {
  return (cfgs[name] as Cfg).map((item): CfgItem => {
    if (typeof item === 'number') return item / 16;
    return item === 'M' || item === 'LRN' ? item : `conv1-${conv1Channels(item) / 16}`;
  });
}

/**
 * Weights of Kaiming's range, the first convolution's thirty times that, so that LRN has something to normalise. They
 * lie in two files of different folders, one byte off every alignment.
 * @param gaps how many more bytes lie before the first tensor, the second ...; begins again where it ends
 */
export function writeOwnWeights(
  network: Network,
  folder: string,
  { seed = 1, gaps = [0] }: { seed?: number; gaps?: readonly number[] } = {},
): { weights: Map<string, Float32Array>; tensors: TensorSource[] } {
  const weights = new Map<string, Float32Array>();
  const tensors: TensorSource[] = [];
  const random = pseudoRandom(seed);
  const files = ['one', 'another'].map((name) => ({ path: join(folder, name, 'weights.bin'), bytes: Buffer.alloc(1) }));
  stateDict(network)
    .filter(({ dtype }) => dtype === 'float32')
    .forEach(({ name, shape }, index) => {
      const fanIn = elementCount(shape.slice(1));
      const spread = shape.length === 1 ? 0.5 : Math.sqrt(6 / fanIn) * (index === 0 ? 30 : 1);
      const centre = name.endsWith('.running_var') || (shape.length === 1 && name.endsWith('.weight')) ? 1 : 0;
      const values = Float32Array.from({ length: elementCount(shape) }, () => centre + spread * random());
      weights.set(name, values);
      const file = files[index % files.length] as (typeof files)[number];
      const gap = Buffer.alloc(gaps[index % gaps.length] ?? 0);
      const byteOffset = file.bytes.length + gap.length;
      tensors.push({ name, shape, path: file.path, byteOffset, byteLength: values.byteLength });
      file.bytes = Buffer.concat([file.bytes, gap, new Uint8Array(values.buffer)]);
    });
  for (const { path, bytes } of files) {
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, bytes);
  }
  return { weights, tensors };
}

/** A network of three layers' work for tests that are about processes. */
export function tinySpec(folder: string): EngineSpec {
  const network = buildNetwork({ cfg: [4, 'M'], batchNorm: false, pool: [2, 2], hidden: 8, classes: 3 });
  return specOf(network, 8, writeOwnWeights(network, folder).tensors);
}

export function randomPixels(n: number, inputSize: number, seed = 2): Uint8Array {
  const random = pseudoRandom(seed);
  return Uint8Array.from({ length: n * inputSize * inputSize * 3 }, () => 128 + 128 * random());
}

/** Numbers in [-1, 1), the same in each run. */
function pseudoRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  };
}

/** The largest difference to the reference, as a part of the largest logit. */
export function relativeError(logits: Float32Array, reference: readonly number[]): number {
  const largest = Math.max(...reference.map(Math.abs));
  const differences = reference.map((value, index) => Math.abs(value - (logits[index] ?? Number.NaN)));
  return Math.max(...differences, logits.length === reference.length ? 0 : Number.POSITIVE_INFINITY) / largest;
}
