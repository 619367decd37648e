/**
 * All that there is to know of a GPU before it serves, in one file: whether it is used, how far its answers are from
 * PyTorch's, pictures a second by batch size, latency under load, memory.
 *
 *     npm run bench:gpu -- [--device gpu] [--model vgg16] [--parity vgg11,...] [--batch 1,2,4,8,16,32,64]
 *                          [--connections 1,8,32,64] [--seconds 10] [--allow-tf32] [--out gpu.md]
 *
 * --device cpu tries the script itself where there is no GPU. The weights are those of formula-weights.ts.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { availableCpus } from '../src/cpus.js';
import { startOnDevice } from '../src/engines/start.js';
import { findGpu } from '../src/engines/tfjs/gpu.js';
import { type BuilderName, builderNames } from '../src/model-registry/architecture.js';
import { device as deviceKind } from '../src/option-kinds.js';
import { errorOf, pictureBytes, readReference, writeModel } from './engine-model.js';
import { findLoader } from './load.js';
import { machineLines, summarise } from './machine.js';
import { childrenOf, megabytes, memoryOf } from './memory.js';
import { startService } from './service.js';

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'gpu' },
    model: { type: 'string', default: 'vgg16' },
    parity: { type: 'string', default: builderNames.join(',') },
    batch: { type: 'string', default: '1,2,4,8,16,32,64' },
    connections: { type: 'string', default: '1,8,32,64' },
    rounds: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '10' },
    'allow-tf32': { type: 'boolean', default: false },
    out: { type: 'string', default: 'gpu.md' },
  },
});
const device = deviceKind('DEVICE').parse(values.device);
if (device === undefined) throw new RangeError(`--device is ${deviceKind('DEVICE').allowed}, not ${values.device}`);
const model = builder(values.model);
const batches = values.batch.split(',').map(Number);
const allowTf32 = values['allow-tf32'];
const options = {
  engine: 'tfjs',
  device,
  allowTf32,
  log: (line: string) => process.stderr.write(`${line}\n`),
} as const;

const report: string[] = [];
const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-gpu-'));
try {
  await head();
  await parity();
  await throughput();
  await underLoad();
} finally {
  await writeFile(values.out, `${report.join('\n')}\n`);
  await rm(folder, { recursive: true });
}

function builder(name: string): BuilderName {
  const found = builderNames.find((one) => one === name);
  if (!found) throw new RangeError(`the networks are ${builderNames}, not ${name}`);
  return found;
}

/** To the file and to the terminal. */
function say(...lines: string[]): void {
  report.push(...lines);
  console.log(lines.join('\n'));
}

async function head(): Promise<void> {
  say('# vgg-serve on a GPU', '', ...machineLines(['sharp']).split('\n'));
  const finding = await findGpu();
  say(finding.usable ? `GPU: ${JSON.stringify(finding.devices)}` : `no GPU is used: ${finding.reason}`);
  say(
    `--device ${values.device}, TF32 ${allowTf32 ? 'allowed' : 'off'}`,
    '',
    await nvidiaSmi('driver_version,name,memory.total'),
    '',
  );
}

/** What the driver says, or that there is none. */
async function nvidiaSmi(query: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', [`--query-gpu=${query}`, '--format=csv,noheader']);
    return `nvidia-smi ${query}: ${stdout.trim()}`;
  } catch {
    return 'nvidia-smi is not here';
  }
}

async function parity(): Promise<void> {
  say(
    '## Answers',
    '',
    "Largest difference to PyTorch's float64 logits of three photographs, of the largest logit.",
    '',
  );
  say('| network | difference |', '|---|---|');
  for (const name of values.parity.split(',').filter(Boolean).map(builder)) {
    const weights = join(folder, `${name}.safetensors`);
    const engine = await startOnDevice(await writeModel(name, weights, availableCpus()), options);
    const error = await errorOf(engine, await readReference(name));
    say(`| ${name} | ${error?.toExponential(1) ?? 'no reference'} |`);
    await engine.close();
    await rm(weights);
  }
  say('');
}

async function throughput(): Promise<void> {
  say(`## Pictures a second, ${model}`, '', 'Of the engine alone; each size in a process made for it.', '');
  say(
    '| batch | n | ms a picture, median | p95 | pictures/s | memory of the GPU in use |',
    '|---|---|---|---|---|---|',
  );
  const spec = await writeModel(model, join(folder, 'throughput.safetensors'), availableCpus());
  const { pixels } = await readReference(model);
  for (const batch of batches) {
    const engine = await startOnDevice({ ...spec, maxBatchSize: batch }, options);
    const input = Buffer.alloc(batch * pictureBytes, pixels);
    const ms: number[] = [];
    for (let round = 0; round < Number(values.rounds); round++)
      ms.push((await engine.run(input, batch)).computeMs / batch);
    const { n, median, p95 } = summarise(ms);
    const memory = await nvidiaSmi('memory.used');
    say(`| ${batch} | ${n} | ${median.toFixed(2)} | ${p95.toFixed(2)} | ${(1000 / median).toFixed(0)} | ${memory} |`);
    await engine.close();
  }
  say('');
}

async function underLoad(): Promise<void> {
  const { name, load } = findLoader();
  say(`## The service under load, ${model}`, '', `POST of a 640 x 427 JPEG by ${name}, ${values.seconds} s a row.`, '');
  say(
    '| connections | requests | errors | req/s | p50 ms | p99 ms | resident MB, server | engine |',
    '|---|---|---|---|---|---|---|---|',
  );
  const flags = ['--engine', 'tfjs', '--device', values.device, ...(allowTf32 ? ['--allow-tf32'] : [])];
  const largest = String(Math.max(...batches));
  const served = `${model}=${join(folder, 'throughput.safetensors')}`;
  const limits = ['--max-batch-size', largest, '--cache-dir', folder, '--log-level', 'warn'];
  const service = await startService([...flags, '--model', served, ...limits]);
  try {
    const body = await readFile(new URL('../../test/fixtures/images/rocket.jpg', import.meta.url));
    for (const connections of values.connections.split(',').map(Number)) {
      const url = `${service.url}/classify`;
      const result = await load({ url, contentType: 'image/jpeg', body, connections, seconds: Number(values.seconds) });
      const engines = childrenOf(service.pid).map((pid) => megabytes(memoryOf(pid).rss));
      const failed = result.errors + result.non2xx;
      const speed = `${result.perSecond.toFixed(1)} | ${result.p50.toFixed(1)} | ${result.p99.toFixed(1)}`;
      const memory = `${megabytes(memoryOf(service.pid).rss)} | ${engines.join(', ')}`;
      say(`| ${connections} | ${result.requests} | ${failed} | ${speed} | ${memory} |`);
    }
  } finally {
    await service.stop();
  }
}
