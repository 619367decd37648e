/**
 * The engines against each other: full-size networks, each engine in a process of its own, a run of each in turns.
 *
 *     npm run bench:engines -- [--model vgg16,...] [--batch 1,8] [--rounds 20] [--threads N] [--json]
 *         [--engine native,onnxruntime] [--precision fp32,bf16,bf16-classifier]
 *         [--isa auto|all|avx512,avx2,...]: the native engine's instruction sets
 *         [--python PYTHON]: also torch, torch-compiled, openvino and ncnn, as far as it has them
 *         [--layers]: instead, the native engine's time in each layer; on a busy machine with --threads 1 only, else what
 *         a thread waits for its CPU is counted with another layer
 *
 * The weights are those of formula-weights.ts. Times are the engine's own, around one run, in milliseconds a picture;
 * memory is the peak of a process whose largest batch is the batch of the row, in 10^6 bytes, with the pages of the
 * weights' file that it has mapped. The error is the largest difference to PyTorch's float64 logits of three
 * photographs, as a part of the largest logit. A precision or an instruction set that is refused has a row with n 0 and
 * the reason.
 *
 * With --json a line for each row, and nothing else on stdout; an instruction set that was forced stands behind the
 * engine's name (`native:avx2`), and reasons go to stderr.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { availableCpus } from '../src/cpus.js';
import { isasOf } from '../src/engines/choose.js';
import { type EngineName, type EngineSpec, type Precision, precisions } from '../src/engines/engine.js';
import { type BuilderName, builderNames } from '../src/model-registry/architecture.js';
import { type Entry, entriesOf, type Started, startEntry } from './engine-contenders.js';
import { type Profile, profileLayers } from './engine-layers.js';
import { errorOf, pictureBytes, type Reference, readReference, writeModel } from './engine-model.js';
import { machineLines, summarise } from './machine.js';
import { megabytes, memoryOf } from './memory.js';

const engineNames = ['native', 'onnxruntime', 'tfjs'] as const satisfies readonly EngineName[];
const isaNames = ['auto', 'all', ...new Set(Object.values(isasOf).flat())] as const;
/** Not measured: by then clocks and caches have settled. */
const warmUpRounds = 2;

/** The names are those of the JSON. Of an entry that was refused n is 0, and there are no figures. */
interface Row {
  readonly engine: string;
  readonly precision: Precision;
  readonly model: BuilderName;
  readonly batch: number;
  readonly threads: number;
  readonly n: number;
  readonly min_ms: number | null;
  readonly median_ms: number | null;
  readonly p95_ms: number | null;
  readonly peak_rss_mb: number | null;
  readonly error: number | null;
}

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'vgg16' },
    batch: { type: 'string', default: '1,8' },
    rounds: { type: 'string', default: '20' },
    engine: { type: 'string', default: 'native,onnxruntime' },
    precision: { type: 'string', default: precisions.join(',') },
    isa: { type: 'string', default: 'auto' },
    threads: { type: 'string', default: String(availableCpus()) },
    python: { type: 'string' },
    layers: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const { python } = values;
const models = listOf('--model', values.model, builderNames);
const batches = values.batch.split(',').map(Number);
const rounds = Number(values.rounds);
const threads = Number(values.threads);
const entries = entriesOf({
  engines: listOf('--engine', values.engine, engineNames),
  precisions: listOf('--precision', values.precision, precisions),
  isas: listOf('--isa', values.isa, isaNames),
  python,
});

const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-engines-'));
try {
  if (!values.json) console.log(machineLines(['onnxruntime-node']));
  for (const model of models) await run(model, join(folder, `${model}.safetensors`));
} finally {
  await rm(folder, { recursive: true });
}

async function run(model: BuilderName, weights: string): Promise<void> {
  const spec = await writeModel(model, weights, threads);
  if (values.layers) {
    for (const batch of batches) showLayers(model, spec, batch);
  } else {
    if (!values.json) {
      console.log(`\n${model}, ${threads} threads, ${rounds} rounds in turns; ms a picture\n`);
      console.log('| engine | batch | n | min | median | p95 | peak MB | error |\n|---|---|---|---|---|---|---|---|');
    }
    const reference = await readReference(model);
    for (const batch of batches) await measure(model, { ...spec, maxBatchSize: batch }, weights, reference);
  }
  await rm(weights);
}

/** All entries at one batch size, which is the largest that their processes are made for. */
async function measure(model: BuilderName, spec: EngineSpec, weights: string, reference: Reference): Promise<void> {
  const batch = spec.maxBatchSize;
  const running: { readonly entry: Entry; readonly started: Started | Error; readonly ms: number[] }[] = [];
  try {
    for (const entry of entries) {
      const started = await startEntry(entry, spec, { python, model, weights }).catch((error: Error) => error);
      running.push({ entry, started, ms: [] });
    }
    const pixels = Buffer.alloc(batch * pictureBytes, reference.pixels);
    for (let round = -warmUpRounds; round < rounds; round++) {
      for (const { started, ms } of running) {
        if (started instanceof Error) continue;
        const { computeMs } = await started.run(pixels, batch);
        if (round >= 0) ms.push(computeMs / batch);
      }
    }
    for (const { entry, started, ms } of running) {
      const { engine, precision, isa } = entry;
      const head = { engine: isa === 'auto' ? engine : `${engine}:${isa}`, precision, model, batch, threads };
      show({ ...head, ...(await figuresOf(started, ms, reference)) }, started);
    }
  } finally {
    for (const { started } of running) if (!(started instanceof Error)) await started.close();
  }
}

async function figuresOf(started: Started | Error, ms: readonly number[], reference: Reference) {
  if (started instanceof Error) {
    return { n: 0, min_ms: null, median_ms: null, p95_ms: null, peak_rss_mb: null, error: null };
  }
  const { n, min, median, p95 } = summarise(ms);
  const peak_rss_mb = Number(megabytes(memoryOf(started.pid ?? Number.NaN).peak));
  const error = await errorOf(started, reference);
  return { n, min_ms: rounded(min), median_ms: rounded(median), p95_ms: rounded(p95), peak_rss_mb, error };
}

function show(row: Row, started: Started | Error): void {
  const { engine, precision, batch, n, min_ms, median_ms, p95_ms, peak_rss_mb, error } = row;
  const refused = started instanceof Error ? started.message : undefined;
  if (values.json) {
    console.log(JSON.stringify(row));
    if (refused !== undefined) console.error(`REFUSED ${engine} ${precision}: ${refused}`);
    return;
  }
  const name = [engine.split(':')[0], precision, started instanceof Error ? engine.split(':')[1] : started.detail];
  const times = [min_ms, median_ms, p95_ms].map((ms) => ms?.toFixed(1) ?? '');
  const last = refused === undefined ? (error?.toExponential(1) ?? '') : `refused: ${refused}`;
  console.log(`| ${[name.filter(Boolean).join(' '), batch, n, ...times, peak_rss_mb ?? '', last].join(' | ')} |`);
}

function showLayers(model: BuilderName, spec: EngineSpec, batch: number): void {
  for (const { engine, precision, isa } of entries) {
    if (engine !== 'native') continue;
    const what = `${model}, native ${precision}${isa === 'auto' ? '' : ` ${isa}`}, batch ${batch}, ${threads} threads`;
    let profile: Profile;
    try {
      profile = profileLayers({ ...spec, precision, isa }, batch, rounds);
    } catch (error) {
      console.error(`REFUSED ${what}: ${(error as Error).message}`);
      continue;
    }
    if (values.json) {
      const head = { model, precision, isa: profile.isa, batch, threads, peak_gflops: profile.peak };
      for (const layer of profile.layers) console.log(JSON.stringify({ ...head, ...layer }));
      continue;
    }
    const total = profile.layers.reduce((sum, { ms }) => sum + ms, 0);
    console.log(`\n${what}, ${profile.isa}; the fastest of ${rounds} runs, ms a picture; ${total.toFixed(2)} in all`);
    console.log(
      `float32 multiply-adds at their peak: ${profile.peak.toFixed(0)} GFLOP/s; counts are the direct ones\n`,
    );
    console.log('| layer | kind | tile | ms | share | GFLOP/s | of the peak |\n|---|---|---|---|---|---|---|');
    for (const { layer, kind, tile, ms, share, gflops, of_peak } of profile.layers) {
      const speed = [gflops?.toFixed(0) ?? '', of_peak === null ? '' : percent(of_peak)];
      console.log(`| ${[layer, kind, tile ?? '', ms.toFixed(3), percent(share), ...speed].join(' | ')} |`);
    }
  }
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}

function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}

function listOf<T extends string>(flag: string, given: string, allowed: readonly T[]): T[] {
  return given.split(',').map((name) => {
    const found = allowed.find((one) => one === name);
    if (found === undefined) throw new RangeError(`${flag} is one of ${allowed.join(', ')}, not "${name}"`);
    return found;
  });
}
