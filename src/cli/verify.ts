import { basename } from 'node:path';
import type { Config } from '../config.js';
import { buildArchitecture } from '../model-registry/architecture.js';
import { type Recognised, recogniseCheckpoint, titleOf } from '../model-registry/recognise.js';
import { parameterCount } from '../network/state-dict.js';
import { UnrecognisedError } from '../network/unrecognised.js';
import { catalogue, fileName } from '../weights/catalogue.js';
import { type Checkpoint, readCheckpoint } from '../weights/checkpoint.js';
import { CheckpointError } from '../weights/checkpoint-error.js';
import { sha256OfFile } from '../weights/hash.js';
import { hashInName } from '../weights/hub.js';
import { holdsNaN } from '../weights/not-a-number.js';
import { count, megabytes } from './units.js';

/** What is known of a file; null is what could not be found out. The names are those of the JSON. */
interface Report {
  readonly file: string;
  readonly sha256: string | null;
  /** The digits in a name as PyTorch gives it. */
  readonly sha256_prefix: string | null;
  /** As `--model` takes them, for a name of the catalogue. */
  readonly weights: string | null;
  readonly size_bytes: number | null;
  readonly container: Checkpoint['container'] | null;
  /** How many tensors there are of each dtype. */
  readonly tensors: Readonly<Record<string, number>> | null;
  readonly network: string | null;
  readonly classes: number | null;
  readonly num_params: number | null;
  /** What a checkpoint does not show and was assumed. */
  readonly notes: readonly string[];
  readonly problems: readonly string[];
}

/** Says what a file of weights is, and what is wrong with it. Answers the exit code: 1 if anything is. */
export async function verify(config: Config<'verify'>): Promise<number> {
  const report = await examine(config.operands[0] as string);
  if (config.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else {
    process.stdout.write(asText(report));
    for (const problem of report.problems) process.stderr.write(`vgg-serve: ${problem}\n`);
  }
  return report.problems.length > 0 ? 1 : 0;
}

async function examine(file: string): Promise<Report> {
  const name = basename(file);
  const prefix = hashInName.exec(name)?.[1];
  const entry = catalogue.find((one) => fileName(one) === name);
  const { checkpoint, recognised, problems } = await readAndRecognise(file);
  const sha256 = await sha256OfFile(file).catch(() => undefined);
  if (sha256 !== undefined && prefix !== undefined && !sha256.startsWith(prefix)) {
    problems.unshift(
      `${file}: By its name the SHA-256 begins with ${prefix}, but it is ${sha256}. Get the file again.`,
    );
  }
  return {
    file,
    sha256: sha256 ?? null,
    sha256_prefix: prefix ?? null,
    weights: entry === undefined ? null : `${entry.builder}:${entry.entry}`,
    size_bytes: checkpoint?.byteLength ?? null,
    container: checkpoint?.container ?? null,
    tensors: checkpoint === undefined ? null : countDtypes(checkpoint),
    network: recognised === undefined ? null : titleOf(recognised),
    classes: recognised?.architecture.classes ?? null,
    num_params: recognised === undefined ? null : parameterCount(buildArchitecture(recognised.architecture)),
    notes: recognised?.notes ?? [],
    problems,
  };
}

/** As far as it goes: the first problem ends it. */
async function readAndRecognise(file: string) {
  const problems: string[] = [];
  let checkpoint: Checkpoint | undefined;
  let recognised: Recognised | undefined;
  try {
    checkpoint = await readCheckpoint(file);
    recognised = recogniseCheckpoint(checkpoint);
    const bias = 'builder' in recognised.architecture ? 'fc.bias' : 'classifier.6.bias';
    if (await holdsNaN(checkpoint, bias)) {
      problems.push(`${file}: ${bias} holds NaN: these weights are for features only, and cannot classify.`);
    }
  } catch (error) {
    if (!(error instanceof CheckpointError || error instanceof UnrecognisedError)) throw error;
    problems.push(error.message);
  }
  return { checkpoint, recognised, problems };
}

function countDtypes({ tensors }: Checkpoint): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { dtype } of tensors) counts[dtype] = (counts[dtype] ?? 0) + 1;
  return counts;
}

function asText(report: Report): string {
  const { sha256, sha256_prefix, weights, size_bytes, container, tensors, network, classes, num_params } = report;
  const hashFits = sha256 !== null && sha256_prefix !== null && sha256.startsWith(sha256_prefix);
  const facts: [string, string | false | null][] = [
    ['sha256', sha256 && `${sha256}${hashFits ? ', as the name says' : ''}`],
    ['container', size_bytes !== null && `${container}, ${megabytes(size_bytes)} MB`],
    [
      'tensors',
      tensors &&
        Object.entries(tensors)
          .map(([dtype, number]) => `${number} ${dtype}`)
          .join(', '),
    ],
    ['network', num_params !== null && `${network}, ${classes} classes, ${count(num_params)} parameters`],
    ['weights', weights],
    ...report.notes.map((note): [string, string] => ['note', note]),
  ];
  const known = facts.filter(([, fact]) => fact);
  return [report.file, ...known.map(([name, fact]) => `  ${name.padEnd(10)} ${fact}`)].join('\n').concat('\n');
}
