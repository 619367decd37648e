import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { EngineSpec } from '../src/engines/engine.js';
import { type BuilderName, buildArchitecture, builderArchitecture } from '../src/model-registry/architecture.js';
import { stateDict } from '../src/network/state-dict.js';
import { readCheckpoint } from '../src/weights/checkpoint.js';
import { asFloat32 } from '../src/weights/convert.js';
import { matchStateDict } from '../src/weights/match.js';
import { writeFormulaWeights } from './formula-weights.js';
import type { Contender } from './python-engine.js';

/** Of the full-size networks. */
export const inputSize = 224;
export const pictureBytes = inputSize ** 2 * 3;

/** Three photographs, and PyTorch's float64 logits of them where there are some for this network. */
export interface Reference {
  readonly pixels: Uint8Array;
  readonly pictures: number;
  readonly logits: readonly number[] | undefined;
}

/** Writes a full-size network with weights by formula, as an engine takes it; for batches of one. */
export async function writeModel(model: BuilderName, weights: string, threads: number): Promise<EngineSpec> {
  const network = buildArchitecture(builderArchitecture(model, 1000));
  await writeFormulaWeights(network, weights);
  const checkpoint = await readCheckpoint(weights);
  return {
    layers: network.layers,
    inputSize,
    classes: network.classes,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
    tensors: await asFloat32(checkpoint, matchStateDict(stateDict(network), checkpoint), dirname(weights)),
    maxBatchSize: 1,
    threads,
    prepack: false,
    precision: 'fp32',
  };
}

export async function readReference(model: BuilderName): Promise<Reference> {
  const fixtures = new URL('../../test/fixtures/full/', import.meta.url);
  const { crops, rows } = JSON.parse(await readFile(new URL('full_networks.json', fixtures), 'utf8')) as {
    crops: string[];
    rows: { builder: string; logits_float64: number[][] }[];
  };
  const pixels = Buffer.concat(await Promise.all(crops.map((crop) => readFile(new URL(crop, fixtures)))));
  const logits = rows.find(({ builder }) => builder === model)?.logits_float64.flat();
  return { pixels, pictures: crops.length, logits };
}

/** The largest difference to PyTorch, as a part of the largest logit. Picture by picture, so that a process made for batches of one can do it. */
export async function errorOf(
  contender: Pick<Contender, 'run'>,
  { pixels, pictures, logits }: Reference,
): Promise<number | null> {
  if (!logits) return null;
  const seen: number[] = [];
  for (let at = 0; at < pictures; at++) {
    const answer = await contender.run(pixels.subarray(at * pictureBytes, (at + 1) * pictureBytes), 1);
    seen.push(...Array.from(answer.logits));
  }
  const largest = Math.max(...logits.map(Math.abs));
  const difference = Math.max(...logits.map((value, at) => Math.abs(value - (seen[at] ?? Number.NaN))));
  return Number((difference / largest).toPrecision(3));
}
