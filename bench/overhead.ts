/**
 * What the service adds to its engine: a full-size network at concurrency 1, whole HTTP requests and bare engine runs
 * in turns, in one run of this program.
 *
 *     npm run bench:overhead -- [--rounds 40] [--builder vgg16] [--picture FILE] [--engine auto]
 *
 * The weights are those of formula-weights.ts. "bare engine" is the time that a second engine process of the same kind,
 * which is given finished pixels, measures around its own run: no pipe, no queue, no HTTP.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { availableCpus } from '../src/cpus.js';
import type { EngineChoice } from '../src/engines/choose.js';
import type { EngineSpec } from '../src/engines/engine.js';
import { startEngine } from '../src/engines/process.js';
import { stateDict } from '../src/network/state-dict.js';
import { type BuilderName, builders } from '../src/vgg/configs.js';
import { builderOptions, buildNetwork } from '../src/vgg/network.js';
import { readCheckpoint } from '../src/weights/checkpoint.js';
import { asFloat32 } from '../src/weights/convert.js';
import { matchStateDict } from '../src/weights/match.js';
import { imageNetPreset, writeFormulaModel } from './formula-model.js';
import { LeanClient } from './lean-client.js';
import { machineLines, summarise } from './machine.js';
import { startService } from './service.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '40' },
    builder: { type: 'string', default: 'vgg16' },
    picture: { type: 'string', default: 'test/fixtures/images/rocket.jpg' },
    engine: { type: 'string', default: 'auto' },
  },
});
if (!Object.hasOwn(builders, values.builder)) throw new RangeError(`--builder is one of ${Object.keys(builders)}`);
const builder = values.builder as BuilderName;
const choice = oneOf(values.engine);

/** By then V8 has compiled what a request runs through. */
const warmUpRounds = 50;

const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-overhead-'));
try {
  await run();
} finally {
  await rm(folder, { recursive: true });
}

async function run(): Promise<void> {
  await writeFormulaModel(builder, folder);
  const network = buildNetwork(builderOptions(builder));
  const checkpoint = await readCheckpoint(join(folder, `${builder}.safetensors`));
  const spec: EngineSpec = {
    layers: network.layers,
    inputSize: imageNetPreset.crop,
    classes: network.classes,
    mean: imageNetPreset.mean,
    std: imageNetPreset.std,
    tensors: await asFloat32(checkpoint, matchStateDict(stateDict(network), checkpoint), folder),
    maxBatchSize: 16,
    threads: availableCpus(),
    prepack: false,
    precision: 'fp32',
  };
  const engine = await startEngine(spec, { engine: choice });
  const service = await startService(['--model', folder, '--engine', choice, '--log-level', 'warn']);
  const client = await LeanClient.open(new URL('/classify', service.url), 'image/jpeg', await readFile(values.picture));
  try {
    const pixels = new Uint8Array(imageNetPreset.crop ** 2 * 3).fill(127);
    const bare: number[] = [];
    const whole: number[] = [];
    const steps: Record<string, number[]> = {};
    for (let round = -warmUpRounds; round < Number(values.rounds); round++) {
      const { computeMs } = await engine.run(pixels, 1);
      const startedAt = performance.now();
      const answer = await client.send();
      const wholeMs = performance.now() - startedAt;
      if (round < 0) continue;
      bare.push(computeMs);
      whole.push(wholeMs);
      const { timings_ms } = JSON.parse(answer.toString()) as { timings_ms: Record<string, number> };
      for (const [step, ms] of Object.entries(timings_ms)) steps[step] = [...(steps[step] ?? []), ms];
    }
    report(engine.info.engine, { 'bare engine': bare, 'whole request (client)': whole, ...steps });
  } finally {
    client.close();
    await service.stop();
    await engine.close();
  }
}

function report(name: string, rows: Record<string, readonly number[]>): void {
  console.log(machineLines(['onnxruntime-node', 'fastify', 'sharp']));
  console.log(
    `${builder}, ${name} fp32, batch 1, concurrency 1, ${values.picture}, after ${warmUpRounds} rounds of warm-up; ms\n`,
  );
  console.log('| what | n | min | median | p95 |\n|---|---|---|---|---|');
  for (const [what, ms] of Object.entries(rows)) {
    const { n, min, median, p95 } = summarise(ms);
    console.log(`| ${what} | ${n} | ${min.toFixed(2)} | ${median.toFixed(2)} | ${p95.toFixed(2)} |`);
  }
  const bareMs = summarise(rows['bare engine'] ?? []).median;
  const wholeMs = summarise(rows['whole request (client)'] ?? []).median;
  const allowedMs = 1.05 * bareMs + 5;
  console.log(
    `\nwhole / bare = ${(wholeMs / bareMs).toFixed(3)}; added ${(wholeMs - bareMs).toFixed(2)} ms of ` +
      `${(allowedMs - bareMs).toFixed(2)} ms allowed (5 % + 5 ms)`,
  );
  if (wholeMs > allowedMs) process.exitCode = 1;
}

function oneOf(given: string): EngineChoice {
  const found = (['auto', 'native', 'onnxruntime'] as const).find((name) => name === given);
  if (found === undefined) throw new RangeError(`--engine is auto, native or onnxruntime, not "${given}"`);
  return found;
}
