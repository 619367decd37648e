/**
 * From the command to the first answer, part by part, with VGG-16 in torch's cache folder; and what prepacking costs and
 * gains.
 *
 *     npm run bench:startup -- [--rounds 5]
 *
 * The file is that of stand-in.ts, and the kernel still has it in memory: a start that reads it from a disk takes as much
 * longer as the disk takes to read it. "compute" is measured by two engine processes in turns.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { availableCpus } from '../src/cpus.js';
import type { EngineSpec } from '../src/engines/engine.js';
import { startEngine } from '../src/engines/process.js';
import { buildArchitecture, builderArchitecture } from '../src/model-registry/architecture.js';
import { stateDict } from '../src/network/state-dict.js';
import { readCheckpoint } from '../src/weights/checkpoint.js';
import { asFloat32 } from '../src/weights/convert.js';
import { matchStateDict } from '../src/weights/match.js';
import { machineLines, summarise } from './machine.js';
import { childrenOf, memoryOf } from './memory.js';
import { writeStandIn } from './stand-in.js';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } });
const rounds = Number(values.rounds);
const cli = fileURLToPath(new URL('../src/cli.js', import.meta.url));
const batchSizes = [1, 8, 16] as const;

/** What is measured of one setting: by its name, the values of all rounds. */
type Rows = Map<string, number[]>;

const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-startup-'));
try {
  await run();
} finally {
  await rm(folder, { recursive: true });
}

async function run(): Promise<void> {
  const network = buildArchitecture(builderArchitecture('vgg16', 1000));
  const checkpoints = join(folder, 'hub', 'checkpoints');
  await mkdir(checkpoints, { recursive: true });
  const weights = await writeStandIn(checkpoints);
  const off: Rows = new Map();
  const on: Rows = new Map();
  for (let round = 0; round < rounds; round++) {
    await measureStart(off, ['--no-prepack']);
    await measureStart(on, ['--prepack']);
  }

  const checkpoint = await readCheckpoint(weights);
  const spec: Omit<EngineSpec, 'prepack'> = {
    layers: network.layers,
    inputSize: 224,
    classes: network.classes,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
    tensors: await asFloat32(checkpoint, matchStateDict(stateDict(network), checkpoint), folder),
    maxBatchSize: Math.max(...batchSizes),
    threads: availableCpus(),
    precision: 'fp32',
  };
  await measureCompute(spec, off, on);

  console.log(machineLines(['onnxruntime-node', 'fastify']));
  console.log(`vgg16, fp32, largest batch 16; medians of ${rounds} starts\n`);
  console.log('| what | prepacking off | prepacking on |\n|---|---|---|');
  for (const [what, seen] of off) console.log(`| ${what} | ${inRow(seen)} | ${inRow(on.get(what) ?? [])} |`);
}

/** One start of the command, until it is ready; then what the server and its engine's process hold. */
async function measureStart(rows: Rows, flags: readonly string[]): Promise<void> {
  const startedAt = performance.now();
  const server = spawn(process.execPath, [cli, 'serve', '--port', '0', '--model', 'vgg16', '--offline', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TORCH_HOME: folder },
  });
  const exited = once(server, 'exit');
  const pid = server.pid ?? Number.NaN;
  let isReady = false;
  for await (const text of createInterface(server.stdout)) {
    const sinceStart = performance.now() - startedAt;
    const line = JSON.parse(text) as { msg: string; load_ms?: Record<string, number> };
    if (line.msg.startsWith('Server listening')) add(rows, 'command to listening, ms', sinceStart);
    if (line.load_ms === undefined) continue;
    const { index, convert, engine_start: engineStart, warm_up: warmUp, hash } = line.load_ms;
    add(rows, 'index and match, ms', index);
    add(rows, 'conversion, ms', convert);
    add(rows, 'engine process, network read, ms', Number(engineStart) - Number(warmUp));
    add(rows, 'warm-up, batch 1 and 16, ms', warmUp);
    add(rows, 'SHA-256 of the file (beside the engine), ms', hash);
    add(rows, 'command to ready, ms', sinceStart);
    isReady = true;
    break;
  }
  if (isReady) {
    const [engine = Number.NaN] = childrenOf(pid);
    add(rows, 'server, resident, MB', memoryOf(pid).rss / 1e6);
    const { rss, anonymous, peak } = memoryOf(engine);
    add(rows, 'engine, resident, MB', rss / 1e6);
    add(rows, 'engine, without pages of the mapped file, MB', anonymous / 1e6);
    add(rows, 'engine, peak resident, MB', peak / 1e6);
  }
  server.stdout.resume();
  server.kill('SIGTERM');
  await exited;
  if (!isReady) throw new Error('the server ended before it was ready');
}

async function measureCompute(spec: Omit<EngineSpec, 'prepack'>, off: Rows, on: Rows): Promise<void> {
  const pixels = Uint8Array.from({ length: spec.maxBatchSize * spec.inputSize ** 2 * 3 }, (_, at) => (at * 31) % 256);
  const engines = [
    { rows: off, engine: await startEngine({ ...spec, prepack: false }) },
    { rows: on, engine: await startEngine({ ...spec, prepack: true }) },
  ];
  try {
    for (const n of batchSizes) {
      const batch = pixels.subarray(0, n * spec.inputSize ** 2 * 3);
      for (let turn = 0; turn < 2 * rounds; turn++) {
        for (const { rows, engine } of engines) {
          const { computeMs } = await engine.run(batch, n);
          add(rows, `compute, batch ${n}, ms a picture`, computeMs / n);
        }
      }
    }
  } finally {
    for (const { engine } of engines) await engine.close();
  }
}

function add(rows: Rows, what: string, value: number | undefined): void {
  rows.set(what, [...(rows.get(what) ?? []), value ?? Number.NaN]);
}

/** The median, and the smallest and the largest. */
function inRow(seen: readonly number[]): string {
  const { median, min } = summarise(seen);
  const digits = median < 10 ? 1 : 0;
  const shown = (value: number) => value.toFixed(digits);
  return `${shown(median)} (${shown(min)} to ${shown(Math.max(...seen))})`;
}
