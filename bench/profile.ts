/**
 * Where the CPU time of a request goes: the service at full load, each process and each part of its main thread.
 *
 *     npm run bench:profile -- [--model fashion-vgg|vgg16|feeding] [--connections 1,64] [--seconds 8] [--flags '--log-level info']
 *
 * Without --model it takes the embedded one at 1 and 64 connections, and VGG-16 (weights by formula) at 8. `feeding` is the
 * service around an engine that answers in 1 ms, whatever the batch: what decoding and HTTP could feed to a GPU. Linux only:
 * the kernel tells how much CPU each thread took (/proc/PID/task/TID/stat); a profile of V8 divides the server's main thread
 * among its parts. The profiler itself costs some per cent of the main threads.
 */
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { buildNetwork } from '../src/vgg/network.js';
import { imageNetPreset, writeFormulaModel } from './formula-model.js';
import { writeFormulaWeights } from './formula-weights.js';
import { findLoader, type LoadResult } from './load.js';
import { machineLines } from './machine.js';
import { type CpuProfile, sharesOf } from './profile-parts.js';
import { startService } from './service.js';
import { threadTimes } from './thread-times.js';

interface Run {
  readonly model: string;
  readonly picture: string;
  readonly contentType: string;
  readonly connections: readonly number[];
  /** @default the service itself */
  readonly program?: URL;
}

const runs: readonly Run[] = [
  {
    model: 'fashion-vgg',
    picture: 'models/fashion-vgg/samples/ankle-boot.png',
    contentType: 'image/png',
    connections: [1, 64],
  },
  { model: 'vgg16', picture: 'test/fixtures/images/rocket.jpg', contentType: 'image/jpeg', connections: [8] },
  ...['640x480', '112x112'].map((size) => ({
    model: 'feeding',
    picture: size,
    contentType: 'image/jpeg',
    connections: [64],
    program: new URL('./feeding-server.js', import.meta.url),
  })),
];

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    connections: { type: 'string' },
    seconds: { type: 'string', default: '8' },
    flags: { type: 'string', default: '--log-level info' },
  },
});
const seconds = Number(values.seconds);
const loader = findLoader();
const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-profile-'));

try {
  console.log(machineLines(['fastify', 'sharp', 'prom-client', 'pino']));
  console.log(`load by ${loader.name}, ${seconds} s a table, ${values.flags}`);
  for (const run of runs.filter(({ model }) => (values.model ? model === values.model : model !== 'feeding'))) {
    const flags = [...values.flags.split(' '), '--model', await modelArgument(run.model)];
    const connections = values.connections?.split(',').map(Number) ?? run.connections;
    for (const count of connections) await profile(run, count, flags);
  }
} finally {
  await rm(folder, { recursive: true });
}

async function modelArgument(model: string): Promise<string> {
  if (model === 'feeding') return await writeFeedingModel(join(folder, model));
  return model === 'fashion-vgg' ? 'models/fashion-vgg' : await writeFormulaModel(model, join(folder, model));
}

/** A service of its own for each table: its profile is written when its process ends. */
async function profile(run: Run, connections: number, flags: readonly string[]): Promise<void> {
  const profiles = await mkdtemp(join(folder, 'run-'));
  const preload = new URL('./cpu-profiler.js', import.meta.url).href;
  const service = await startService(
    flags,
    { NODE_OPTIONS: `--import=${preload}`, PROFILE_DIR: profiles },
    run.program,
  );
  const request = { url: `${service.url}/classify`, contentType: run.contentType, body: await pictureOf(run) };
  await loader.load({ ...request, connections: Math.max(8, connections), seconds: 4 });

  const processes = [service.pid, childOf(service.pid)];
  const workers = new Set((await readdir(profiles)).filter((name) => name.endsWith('.worker')).map(Number.parseFloat));
  const before = processes.map((pid) => threadTimes(pid, workers));
  const startedUs = monotonicUs();
  const result = await loader.load({ ...request, connections, seconds });
  const endedUs = monotonicUs();
  const after = processes.map((pid) => threadTimes(pid, workers));
  await service.stop();
  if (result.errors + result.non2xx > 0) throw new Error(`not every request was answered: ${JSON.stringify(result)}`);

  const lines: Line[] = [];
  for (const [index, pid] of processes.entries()) {
    const name = index === 0 ? 'server' : 'engine';
    const profiled = JSON.parse(await readFile(join(profiles, `${pid}.cpuprofile`), 'utf8')) as CpuProfile;
    for (const [kind, us] of after[index] ?? []) {
      const spent = us - (before[index]?.get(kind) ?? 0);
      const shares = kind === 'main thread' ? sharesOf(profiled, startedUs, endedUs) : new Map([['', 1]]);
      for (const [part, share] of shares) lines.push({ thread: `${name}, ${kind}`, part, us: spent * share });
    }
  }
  report(run.program ? `${run.model}, JPEG of ${run.picture}` : run.model, connections, result, lines);
}

/** Its file, or a photograph of the size that is named. */
async function pictureOf({ picture, program }: Run): Promise<Buffer> {
  if (!program) return await readFile(picture);
  const [width = 0, height = 0] = picture.split('x').map(Number);
  return await sharp('test/fixtures/images/coffee.jpg').resize(width, height, { fit: 'cover' }).jpeg().toBuffer();
}

/** ImageNet's transforms and classes, and a network that nobody runs. */
async function writeFeedingModel(to: string): Promise<string> {
  const shape = {
    cfg: [1, 'M', 'M', 'M', 'M', 'M'],
    batchNorm: false,
    pool: [1, 1],
    hidden: 1,
    classes: 1000,
  } as const;
  await mkdir(to, { recursive: true });
  await writeFormulaWeights(buildNetwork(shape), join(to, 'feeding.safetensors'));
  const { batchNorm: batch_norm, ...network } = shape;
  const manifest = {
    name: 'feeding',
    weights: { name: 'FORMULA', file: 'feeding.safetensors' },
    network: { ...network, batch_norm },
    transforms: imageNetPreset,
    categories: Array.from({ length: shape.classes }, (_, index) => `class ${index}`),
  };
  await writeFile(join(to, 'manifest.json'), JSON.stringify(manifest));
  return to;
}

interface Line {
  readonly thread: string;
  readonly part: string;
  readonly us: number;
}

function report(model: string, connections: number, result: LoadResult, lines: readonly Line[]): void {
  const { requests, perSecond, p50, p99 } = result;
  const total = lines.reduce((sum, { us }) => sum + us, 0);
  const perRequest = (us: number) => (us / requests).toFixed(0);
  console.log(`\n${model}, ${connections} connections: ${requests} requests, ${perSecond.toFixed(0)}/s`);
  console.log(`p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, ${perRequest(total)} us of CPU a request\n`);
  console.log('| thread | part | us a request | share |\n|---|---|---|---|');
  for (const thread of new Set(lines.map((line) => line.thread))) {
    const own = lines.filter((line) => line.thread === thread && line.us / total >= 0.001);
    own.sort((a, b) => b.us - a.us);
    if (own.length > 1) own.unshift({ thread, part: '**all**', us: own.reduce((sum, { us }) => sum + us, 0) });
    for (const { part, us } of own) {
      console.log(`| ${thread} | ${part} | ${perRequest(us)} | ${((100 * us) / total).toFixed(1)} % |`);
    }
  }
}

/** The server's only child process: the engine's. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
}

/** The clock of V8's profiles. */
function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
