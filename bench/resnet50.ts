/**
 * Whether ResNet-50 would gain by the native engine, which has kernels for four fifths of its work: the convolutions
 * of 1x1 and 3x3 with stride 1.
 *
 *     npm run bench:resnet50 -- [--batch 1,8] [--rounds 30] [--threads N] [--cpu-time]
 *
 * Each stage is cut down to those convolutions, one after the other, with a max pooling in place of the stride and
 * without the additions, and run by both engines in turns, in one process; then once more without the 3x3 ones, so that
 * the difference is theirs. What onnxruntime takes for the whole network, less what the native kernels save where they
 * are faster, is the projected time: a bound from below, since onnxruntime's own convolutions do the additions too.
 *
 * Times are the least of all rounds, in milliseconds a picture. With --cpu-time they are the process's CPU time, which
 * other programs disturb less: for --threads 1. The weights are those of formula-weights.ts.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { availableCpus } from '../src/cpus.js';
import type { Engine, EngineSpec } from '../src/engines/engine.js';
import { openNative } from '../src/engines/native/session.js';
import { openSession } from '../src/engines/onnxruntime/session.js';
import { buildArchitecture, builderArchitecture } from '../src/model-registry/architecture.js';
import type { Layer } from '../src/network/layer.js';
import { stateDict } from '../src/network/state-dict.js';
import type { TensorSource } from '../src/tensor.js';
import { readCheckpoint } from '../src/weights/checkpoint.js';
import { matchStateDict } from '../src/weights/match.js';
import { writeFormulaWeights } from './formula-weights.js';
import { machineLines } from './machine.js';

const builder = 'resnet50';
/** The side of the map that a stage's 3x3 convolutions see, and of the picture that its chain begins with. */
const stages = [
  { name: 'layer1', map: 56, picture: 56 },
  { name: 'layer2', map: 28, picture: 56 },
  { name: 'layer3', map: 14, picture: 28 },
  { name: 'layer4', map: 7, picture: 14 },
] as const;
const classes = 10;
const warmUpRounds = 2;

const { values } = parseArgs({
  options: {
    batch: { type: 'string', default: '1,8' },
    rounds: { type: 'string', default: '30' },
    threads: { type: 'string', default: String(availableCpus()) },
    'cpu-time': { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const threads = Number(values.threads);

const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-resnet50-'));
try {
  const network = buildArchitecture(builderArchitecture(builder, 1000));
  const path = join(folder, `${builder}.safetensors`);
  await writeFormulaWeights(network, path);
  const checkpoint = await readCheckpoint(path);
  const whole: EngineSpec = {
    ...{ layers: network.layers, inputSize: 224, classes: 1000, threads, prepack: false, precision: 'fp32' },
    tensors: matchStateDict(stateDict(network), checkpoint).map((entry) => ({ ...entry, path })),
    ...{ mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], maxBatchSize: 1 },
  };
  console.log(machineLines(['onnxruntime-node']));
  for (const batch of values.batch.split(',').map(Number)) await compare({ ...whole, maxBatchSize: batch });
} finally {
  await rm(folder, { recursive: true });
}

async function compare(whole: EngineSpec): Promise<void> {
  const clock = values['cpu-time'] ? 'CPU time' : 'wall time';
  console.log(
    `\n${builder}, batch ${whole.maxBatchSize}, ${threads} threads; ${clock}, ms a picture, least of ${rounds}\n`,
  );
  console.log('| convolutions of stride 1 | number | onnxruntime | native | saved |\n|---|---|---|---|---|');
  const [total = Number.NaN] = await timesOf([() => openSession(whole)], whole);
  let saved = 0;
  for (const stage of stages) {
    const all = chain(whole, stage, () => true);
    const pointwise = chain(whole, stage, ({ kernel }) => kernel === 1);
    const both = await timesOf([() => openSession(all.spec), () => openNative(all.spec)], all.spec);
    const ones = await timesOf([() => openSession(pointwise.spec), () => openNative(pointwise.spec)], pointwise.spec);
    const rows = [
      { kernel: 1, count: pointwise.convolutions, times: ones },
      {
        kernel: 3,
        count: all.convolutions - pointwise.convolutions,
        times: both.map((ms, at) => ms - (ones[at] ?? 0)),
      },
    ];
    for (const { kernel, count, times } of rows) {
      const [theirs = Number.NaN, ours = Number.NaN] = times;
      const gain = Math.max(theirs - ours, 0);
      saved += gain;
      const cells = [`${stage.name}, ${kernel} x ${kernel}, map ${stage.map}`, count];
      console.log(`| ${[...cells, ...[theirs, ours, gain].map((ms) => ms.toFixed(2))].join(' | ')} |`);
    }
  }
  const projected = total - saved;
  console.log(`| the whole network | | ${total.toFixed(2)} | | ${saved.toFixed(2)} |`);
  console.log(
    `\nprojected: ${projected.toFixed(2)} ms; onnxruntime takes ${(total / projected).toFixed(2)} times that`,
  );
}

/** The least time of each engine for one network, in turns. */
async function timesOf(open: readonly (() => Promise<Engine>)[], spec: EngineSpec): Promise<number[]> {
  const batch = spec.maxBatchSize;
  const pixels = Uint8Array.from({ length: batch * spec.inputSize ** 2 * 3 }, (_, at) => Math.imul(at, 40503) >>> 8);
  const engines: Engine[] = [];
  for (const one of open) engines.push(await one());
  const least = engines.map(() => Number.POSITIVE_INFINITY);
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (const [at, engine] of engines.entries()) {
      const startedAt = process.cpuUsage();
      const { computeMs } = await engine.run(pixels, batch);
      const { user, system } = process.cpuUsage(startedAt);
      const ms = (values['cpu-time'] ? (user + system) / 1000 : computeMs) / batch;
      if (round >= 0) least[at] = Math.min(least[at] ?? ms, ms);
    }
  }
  for (const engine of engines) await engine.close();
  return least;
}

/**
 * The convolutions of stride 1 of one stage that `keeps` says, behind a small one that makes the stage's channels of a
 * picture, before a small classifier.
 */
function chain(
  whole: EngineSpec,
  stage: (typeof stages)[number],
  keeps: (convolution: { readonly kernel: number }) => boolean,
): { spec: EngineSpec; convolutions: number } {
  const layers: Layer[] = [];
  let convolutions = 0;
  let channels = 0;
  for (const layer of whole.layers) {
    if (!layer.name.startsWith(`${stage.name}.`) || layer.name.includes('.downsample.')) continue;
    const { input: _, ...alone } = layer;
    if (alone.kind === 'conv') {
      const { name, stride } = alone;
      if (layers.length === 0) layers.push(stem(alone.inChannels));
      channels = alone.outChannels;
      if (stride === 2) layers.push({ kind: 'maxpool', name: `${name}.pool`, kernel: 2, stride: 2, padding: 0 });
      if (stride === 2 || !keeps(alone)) continue;
      convolutions++;
      layers.push(alone, { kind: 'relu', name: `${name}.relu` });
    }
  }
  layers.push(
    { kind: 'avgpool', name: 'pool', output: [1, 1] },
    { kind: 'flatten', name: 'flatten' },
    { kind: 'linear', name: 'head', inFeatures: channels, outFeatures: classes },
  );
  const tensors = [...whole.tensors, ...madeUp(whole, layers)];
  return { spec: { ...whole, layers, tensors, inputSize: stage.picture, classes }, convolutions };
}

function stem(outChannels: number): Layer {
  return { kind: 'conv', name: 'stem', inChannels: 3, outChannels, kernel: 1, stride: 1, padding: 0, bias: false };
}

/** Tensors that the whole network has not: the first numbers of its largest one. */
function madeUp(whole: EngineSpec, layers: readonly Layer[]): TensorSource[] {
  const largest = whole.tensors.reduce((a, b) => (b.byteLength > a.byteLength ? b : a));
  const known = new Set(whole.tensors.map(({ name }) => name));
  return stateDict({ layers })
    .filter(({ name }) => !known.has(name))
    .map(({ name, shape }) => ({ ...largest, name, shape, byteLength: 4 * shape.reduce((a, b) => a * b, 1) }));
}
