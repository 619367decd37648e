/**
 * Weights for a full-size network without a download: each value is a hash of its tensor's name and its index, so
 * that any program in any language has the same network. test/fixtures/full says what PyTorch answers with them.
 *
 *     npm run build && node dist/bench/formula-weights.js vgg16 vgg16.safetensors
 */
import { pathToFileURL } from 'node:url';
import { buildArchitecture, builderArchitecture, builderNames } from '../src/model-registry/architecture.js';
import type { Layered } from '../src/network/layer.js';
import { stateDict } from '../src/network/state-dict.js';
import { elementCount } from '../src/tensor.js';
import { writeSafetensors } from '../src/weights/safetensors-writer.js';

interface Range {
  readonly centre: number;
  /** Values lie within centre ± spread. */
  readonly spread: number;
}

/** Vectors, by the last part of their name. Only batch norm has a weight that is a vector. */
const vectors: Readonly<Record<string, Range>> = {
  weight: { centre: 1, spread: 0.2 },
  bias: { centre: 0, spread: 0.05 },
  running_mean: { centre: 0, spread: 0.1 },
  running_var: { centre: 1, spread: 0.5 },
};

/** Writes a network's weights as a safetensors file, one tensor in memory at a time. VGG-16 takes two seconds. */
export async function writeFormulaWeights(network: Layered, path: string): Promise<void> {
  const entries = stateDict(network).filter(({ dtype }) => dtype === 'float32');
  await writeSafetensors(
    path,
    entries.map(({ name, shape }) => ({ name, shape, chunks: lazily(() => formulaTensor(name, shape)) })),
  );
}

function* lazily<T>(make: () => T): Iterable<T> {
  yield make();
}

/** One tensor in C order, computed in float64 and rounded once. */
export function formulaTensor(name: string, shape: readonly number[]): Float32Array {
  const values = new Float32Array(elementCount(shape));
  const { centre, spread } = rangeOf(name, shape);
  const seed = fnv1a(name);
  for (let index = 0; index < values.length; index++) {
    let hash = (Math.imul(index, 0x9e3779b1) + seed) | 0; // what follows is MurmurHash3's fmix32
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash = (hash ^ (hash >>> 16)) >>> 0;
    values[index] = centre + spread * (hash / 2 ** 31 - 1);
  }
  return values;
}

/** Weights of convolutions and linear layers have Kaiming's uniform range for ReLU: logits keep their size in depth. */
function rangeOf(name: string, shape: readonly number[]): Range {
  if (shape.length > 1) return { centre: 0, spread: Math.sqrt(6 / elementCount(shape.slice(1))) };
  const range = vectors[name.slice(name.lastIndexOf('.') + 1)];
  if (!range) throw new RangeError(`there is no formula for the tensor ${name}`);
  return range;
}

/** The 32-bit FNV-1a hash of the text's UTF-8 bytes. */
function fnv1a(text: string): number {
  return Buffer.from(text, 'utf8').reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5 | 0);
}

async function main([builder = '', path = '']: readonly string[]): Promise<void> {
  const name = builderNames.find((candidate) => candidate === builder);
  if (name === undefined || path === '') {
    throw new RangeError(`usage: node formula-weights.js ${builderNames.join('|')} FILE.safetensors`);
  }
  await writeFormulaWeights(buildArchitecture(builderArchitecture(name, 1000)), path);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(process.argv.slice(2));
