/**
 * The engines against each other: one full-size network, each engine in a process of its own, a run of each in turns.
 *
 *     npm run bench:engines -- [--model vgg16] [--batch 1,8] [--rounds 20] [--engine native,onnxruntime] [--json]
 *                              [--python PYTHON]: also torch, torch-compiled, openvino and ncnn, as far as it has them
 *
 * The weights are those of formula-weights.ts. Times are the engine's own, around one run, in milliseconds a picture;
 * memory is the peak of a process whose largest batch is the batch of the row, in 10^6 bytes, with the pages of the
 * weights' file that it has mapped. The error is the largest difference to PyTorch's float64 logits of three
 * photographs, as a part of the largest logit. With --json a line for each row, and nothing else on stdout.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { availableCpus } from '../src/cpus.js';
import type { EngineInfo, EngineName, EngineSpec } from '../src/engines/engine.js';
import { startEngine } from '../src/engines/process.js';
import {
  type BuilderName,
  buildArchitecture,
  builderArchitecture,
  builderNames,
} from '../src/model-registry/architecture.js';
import { stateDict } from '../src/network/state-dict.js';
import { readCheckpoint } from '../src/weights/checkpoint.js';
import { asFloat32 } from '../src/weights/convert.js';
import { matchStateDict } from '../src/weights/match.js';
import { writeFormulaWeights } from './formula-weights.js';
import { machineLines, summarise } from './machine.js';
import { megabytes, memoryOf } from './memory.js';
import { type Contender, type PythonEngineName, pythonEngines, startPythonEngine } from './python-engine.js';

const engineNames = ['native', 'onnxruntime'] as const satisfies readonly EngineName[];
/** Not measured: by then clocks and caches have settled. */
const warmUpRounds = 2;
const inputSize = 224;
const pictureBytes = inputSize ** 2 * 3;

/** The names are those of the JSON. */
interface Row {
  readonly engine: EngineName | PythonEngineName;
  readonly isa: string | null;
  readonly precision: EngineInfo['precision'];
  readonly model: BuilderName;
  readonly batch: number;
  readonly threads: number;
  readonly n: number;
  readonly min_ms: number;
  readonly median_ms: number;
  readonly p95_ms: number;
  readonly peak_rss_mb: number;
  readonly error: number | null;
}

/** Three photographs, and PyTorch's float64 logits of them where there are some for this network. */
interface Reference {
  readonly pixels: Uint8Array;
  readonly pictures: number;
  readonly logits: readonly number[] | undefined;
}

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'vgg16' },
    batch: { type: 'string', default: '1,8' },
    rounds: { type: 'string', default: '20' },
    engine: { type: 'string', default: engineNames.join(',') },
    threads: { type: 'string', default: String(availableCpus()) },
    python: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const model = oneOf('--model', values.model, builderNames);
const engines = values.engine.split(',').map((name) => oneOf('--engine', name, engineNames));
const weights = () => join(folder, `${model}.safetensors`);
const batches = values.batch.split(',').map(Number);
const rounds = Number(values.rounds);
const threads = Number(values.threads);

const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-engines-'));
try {
  await run();
} finally {
  await rm(folder, { recursive: true });
}

async function run(): Promise<void> {
  const spec = await writeModel();
  const reference = await readReference();
  if (!values.json) {
    console.log(machineLines(['onnxruntime-node']));
    console.log(`${model}, ${threads} threads, ${rounds} rounds in turns; ms a picture\n`);
    console.log('| engine | batch | n | min | median | p95 | peak MB | error |\n|---|---|---|---|---|---|---|---|');
  }
  for (const batch of batches) {
    for (const row of await measure({ ...spec, maxBatchSize: batch }, reference)) {
      if (values.json) console.log(JSON.stringify(row));
      else console.log(asTableRow(row));
    }
  }
}

async function writeModel(): Promise<EngineSpec> {
  const network = buildArchitecture(builderArchitecture(model, 1000));
  await writeFormulaWeights(network, weights());
  const checkpoint = await readCheckpoint(weights());
  return {
    layers: network.layers,
    inputSize,
    classes: network.classes,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
    tensors: await asFloat32(checkpoint, matchStateDict(stateDict(network), checkpoint), folder),
    maxBatchSize: 1,
    threads,
    prepack: false,
    precision: 'fp32',
  };
}

async function readReference(): Promise<Reference> {
  const fixtures = new URL('../../test/fixtures/full/', import.meta.url);
  const { crops, rows } = JSON.parse(await readFile(new URL('full_networks.json', fixtures), 'utf8')) as {
    crops: string[];
    rows: { builder: string; logits_float64: number[][] }[];
  };
  const pixels = Buffer.concat(await Promise.all(crops.map((crop) => readFile(new URL(crop, fixtures)))));
  const logits = rows.find(({ builder }) => builder === model)?.logits_float64.flat();
  return { pixels, pictures: crops.length, logits };
}

interface Running {
  readonly engine: Row['engine'];
  readonly isa: string | null;
  readonly precision: Row['precision'];
  readonly contender: Contender;
  readonly ms: number[];
}

/** All engines at one batch size, which is the largest that their processes are made for. */
async function measure(spec: EngineSpec, reference: Reference): Promise<Row[]> {
  const batch = spec.maxBatchSize;
  const running: Running[] = [];
  try {
    for (const name of engines) {
      const contender = await startEngine(spec, { engine: name });
      const { isa = null, precision } = contender.info;
      running.push({ engine: name, isa, precision, contender, ms: [] });
    }
    for (const name of values.python === undefined ? [] : pythonEngines) {
      const contender = await startPeer(values.python ?? '', name);
      if (contender) running.push({ engine: name, isa: contender.version, precision: 'fp32', contender, ms: [] });
    }
    const pixels = Buffer.alloc(batch * pictureBytes, reference.pixels);
    for (let round = -warmUpRounds; round < rounds; round++) {
      for (const { contender, ms } of running) {
        const { computeMs } = await contender.run(pixels, batch);
        if (round >= 0) ms.push(computeMs / batch);
      }
    }
    const rows: Row[] = [];
    for (const { engine, isa, precision, contender, ms } of running) {
      const { n, min, median, p95 } = summarise(ms);
      const peak = Number(megabytes(memoryOf(contender.pid ?? Number.NaN).peak));
      const error = await errorOf(contender, reference);
      const times = { n, min_ms: rounded(min), median_ms: rounded(median), p95_ms: rounded(p95) };
      rows.push({ engine, isa, precision, model, batch, threads, ...times, peak_rss_mb: peak, error });
    }
    return rows;
  } finally {
    for (const { contender } of running) await contender.close();
  }
}

/** A package that this Python lacks is no reason to measure nothing. */
async function startPeer(python: string, name: PythonEngineName) {
  try {
    return await startPythonEngine(python, name, { model, weights: weights(), threads });
  } catch (error) {
    console.error(`SKIPPED ${name}: ${(error as Error).message}`);
    return undefined;
  }
}

/** Picture by picture, so that a process made for batches of one can do it. */
async function errorOf(contender: Contender, { pixels, pictures, logits }: Reference): Promise<number | null> {
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

function asTableRow({ engine, isa, precision, batch, n, min_ms, median_ms, p95_ms, peak_rss_mb, error }: Row): string {
  const name = [engine, precision, isa].filter(Boolean).join(' ');
  const times = [min_ms, median_ms, p95_ms].map((ms) => ms.toFixed(1));
  return `| ${[name, batch, n, ...times, peak_rss_mb, error?.toExponential(1) ?? ''].join(' | ')} |`;
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}

function oneOf<T extends string>(flag: string, given: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === given);
  if (found === undefined) throw new RangeError(`${flag} is one of ${allowed.join(', ')}, not "${given}"`);
  return found;
}
