import { Batcher } from '../batching/batcher.js';
import { isasOf } from '../engines/choose.js';
import type { Engine, EngineSpec, IsaChoice } from '../engines/engine.js';
import type { Samples } from './samples.js';
import { softmax } from './top-k.js';

/** How far a precision is from fp32 on sample pictures; the names are those of the JSON. What was not measured is null. */
export interface Agreement {
  /** On how many it was measured. */
  readonly pictures: number;
  /** Files that could not be read as pictures. */
  readonly skipped: number;
  readonly from: string;
  /** On which part of them the likeliest class is that of fp32, from 0 to 1. */
  readonly top1: number | null;
  /** Of any class of any picture. */
  readonly largest_probability_difference: number | null;
  /** As a part of the largest |logit| in fp32. */
  readonly largest_logit_difference_relative: number | null;
}

/** What fp32 says of sample pictures: for each, [classes] logits. */
export interface Reference {
  readonly samples: Samples;
  readonly logits: readonly Float32Array[];
}

/** Pictures in one run while precisions are compared: the engine in fp32 then takes less memory than the one that serves. */
const largestBatch = 8;

/** The same network in fp32, by the same instruction set where that has fp32. */
export function referenceSpec(spec: EngineSpec): EngineSpec {
  const { isa = 'auto', maxBatchSize } = spec;
  const inFp32: readonly IsaChoice[] = isasOf.fp32;
  return {
    ...spec,
    precision: 'fp32',
    isa: inFp32.includes(isa) ? isa : 'auto',
    maxBatchSize: Math.min(maxBatchSize, largestBatch),
  };
}

/**
 * Runs pictures in batches no larger than those of `referenceSpec`; through a batcher, which knows what to do when the
 * engine is lost.
 * @param spec of the engine
 * @param pictures each [inputSize, inputSize, 3]
 * @returns for each picture [classes]
 */
export async function logitsOf(
  engine: Engine,
  { inputSize, classes, maxBatchSize }: EngineSpec,
  pictures: readonly Uint8Array[],
  signal: AbortSignal,
): Promise<Float32Array[]> {
  const run = async (batch: readonly Uint8Array[]) => {
    const { logits } = await engine.run(Buffer.concat(batch, batch.length * inputSize ** 2 * 3), batch.length);
    return batch.map((_, at) => logits.slice(at * classes, (at + 1) * classes));
  };
  const limits = { maxBatchSize: Math.min(maxBatchSize, largestBatch), maxWaitMs: 0, maxQueue: pictures.length };
  const batcher = new Batcher(run, limits);
  const answers = await Promise.all(pictures.map((picture) => batcher.submit(picture, { signal }))).catch((error) => {
    signal.throwIfAborted();
    throw error;
  });
  return answers.map(({ output }) => output);
}

/** @param logits of the samples of the reference, in their order */
export function agreementOf({ samples, logits: inFp32 }: Reference, logits: readonly Float32Array[]): Agreement {
  const { from, skipped } = samples;
  const pictures = inFp32.length;
  const none = { top1: null, largest_probability_difference: null, largest_logit_difference_relative: null };
  if (pictures === 0) return { pictures, skipped, from, ...none };
  const pairs = inFp32.map((expected, at) => [expected, logits[at] as Float32Array] as const);
  const same = pairs.filter(([expected, seen]) => likeliest(expected) === likeliest(seen)).length;
  const probability = largest(pairs.map(([expected, seen]) => largestDifference(softmax(expected), softmax(seen))));
  const logit = largest(pairs.map(([expected, seen]) => largestDifference(expected, seen)));
  const scale = largest(inFp32.map((expected) => largest(expected.map(Math.abs))));
  return {
    ...{ pictures, skipped, from },
    top1: same / pictures,
    largest_probability_difference: probability,
    largest_logit_difference_relative: scale === 0 ? 0 : logit / scale,
  };
}

type Numbers = Float32Array | Float64Array | readonly number[];

function largestDifference(a: Numbers, b: Numbers): number {
  return largest(Array.from(a, (value, at) => Math.abs(value - (b[at] ?? Number.NaN))));
}

/** NaN if any of them is. */
function largest(values: Numbers): number {
  let most = 0;
  for (const value of values) most = Math.max(most, value);
  return most;
}

/** The index of the largest; of equal ones the first. */
function likeliest(logits: Float32Array): number {
  return logits.reduce((best, value, at) => (value > (logits[best] as number) ? at : best), 0);
}
