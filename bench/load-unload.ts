/**
 * Whether unloading gives the memory back: a full-size network is unloaded and loaded again and again through the admin
 * routes, with a picture classified each time, and the resident memory of the server and of its child compared. Before
 * that, pictures are classified: V8's heap grows to the size it works with in the first minutes of any process.
 *
 *     npm run bench:load-unload -- [--rounds 10] [--pictures 100] [--builder vgg16]
 *
 * Ends with 1 when what is resident after the last round is more than 10 % above that after the first, with the model
 * or without. The weights are those of formula-weights.ts.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildArchitecture, builderArchitecture, builderNames } from '../src/model-registry/architecture.js';
import { writeFormulaWeights } from './formula-weights.js';
import { machineLines } from './machine.js';
import { childrenOf, megabytes, memoryOf } from './memory.js';
import { type Service, startService } from './service.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    pictures: { type: 'string', default: '100' },
    builder: { type: 'string', default: 'vgg16' },
    picture: { type: 'string', default: 'test/fixtures/images/rocket.jpg' },
  },
});
const builder = builderNames.find((name) => name === values.builder);
if (builder === undefined) throw new RangeError(`--builder is one of ${builderNames}`);

const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-load-unload-'));
const token = randomBytes(16).toString('hex');
try {
  const weights = join(folder, `${builder}.safetensors`);
  await writeFormulaWeights(buildArchitecture(builderArchitecture(builder, 1000)), weights);
  const tokenFile = join(folder, 'token');
  await writeFile(tokenFile, token, { mode: 0o600 });
  const flags = ['--model', `${builder}=${weights}`, '--admin-token-file', tokenFile, '--log-level', 'warn'];
  const service = await startService([...flags, '--cache-dir', folder]);
  try {
    await measure(service);
  } finally {
    await service.stop();
  }
} finally {
  await rm(folder, { recursive: true });
}

async function measure(service: Service): Promise<void> {
  const picture = await readFile(values.picture);
  console.log(machineLines(['onnxruntime-node', 'fastify']));
  console.log(`${builder}, fp32; resident MB\n`);
  console.log('| round | server, unloaded | server, loaded | engine, loaded | processes when unloaded | load, ms |');
  console.log('|---|---|---|---|---|---|');
  for (let at = 0; at < Number(values.pictures); at++) await ask(service, '/classify', picture);
  const loaded: number[] = [];
  const unloaded: number[] = [];
  for (let round = 1; round <= Number(values.rounds); round++) {
    await ask(service, `/models/${builder}/unload`);
    const processes = 1 + childrenOf(service.pid).length;
    unloaded.push(memoryOf(service.pid).rss);
    const startedAt = performance.now();
    await ask(service, `/models/${builder}/load`);
    const loadMs = performance.now() - startedAt;
    await ask(service, '/classify', picture);
    const [engine = Number.NaN] = childrenOf(service.pid);
    const seen = memoryOf(service.pid).rss;
    loaded.push(seen);
    const cells = [round, megabytes(unloaded.at(-1) ?? 0), megabytes(seen), megabytes(memoryOf(engine).rss)];
    console.log(`| ${[...cells, processes, loadMs.toFixed(0)].join(' | ')} |`);
  }
  const [whenUnloaded, whenLoaded] = [growth(unloaded), growth(loaded)];
  console.log(
    `\nlast round / first round: ${whenUnloaded.toFixed(3)} unloaded, ${whenLoaded.toFixed(3)} loaded; allowed 1.1`,
  );
  if (Math.max(whenUnloaded, whenLoaded) > 1.1) process.exitCode = 1;
}

function growth(seen: readonly number[]): number {
  return (seen.at(-1) ?? Number.NaN) / (seen[0] ?? Number.NaN);
}

async function ask({ url }: Service, path: string, body?: Buffer): Promise<void> {
  const answer = await fetch(url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'image/jpeg' },
    ...(body && { body: new Uint8Array(body) }),
  });
  if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
  await answer.arrayBuffer();
}
