/**
 * The whole service against Python servers of the same network, over HTTP: each with the machine to itself, one after
 * the other, the next round in the reverse order.
 *
 *     python3.11 -m venv PEERS && PEERS/bin/pip install -r bench/peers/requirements.txt
 *     npm run bench:peers -- --python PEERS/bin/python --model vgg16|fashion-vgg
 *         [--connections 1,8,32] [--seconds 20] [--rounds 2] [--peers a,b] [--json]
 *
 * wrk (Debian: wrk) posts one picture as a raw body over kept connections, in a closed loop: test/fixtures/images/rocket.jpg
 * to VGG-16 (weights by formula), a sample of its own to fashion-vgg. Before a server is timed its answer is compared
 * with this service's: the same five classes, the first probability within 1e-3. A row sums its rounds; its percentiles
 * are the mean of theirs. Memory is the largest PSS of all the server's processes, in 10^6 bytes. With --json a line
 * for each row, and nothing else on stdout.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { freePort } from '../service.js';
import { writeStandIn } from '../stand-in.js';
import { type Answer, difference, parseAnswer } from './answer.js';
import { ProcessTree } from './process-tree.js';
import { rowsOf, type Seen, table } from './report.js';
import { type ModelName, models, type Server, type Start, servers } from './servers.js';
import { load, requireWrk } from './wrk.js';

const startTimeoutMs = 120_000;
const memoryEveryMs = 1_000;
/** Not counted: eight connections, so that batches of every size have been seen. */
const warmUp = { connections: 8, seconds: 4 };

const pictures = {
  vgg16: { path: 'test/fixtures/images/rocket.jpg', type: 'image/jpeg', connections: '1,8,32' },
  'fashion-vgg': { path: 'models/fashion-vgg/samples/ankle-boot.png', type: 'image/png', connections: '1,16,64' },
} as const satisfies Record<ModelName, unknown>;

const { values } = parseArgs({
  options: {
    python: { type: 'string' },
    model: { type: 'string', default: 'vgg16' },
    connections: { type: 'string' },
    seconds: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '2' },
    peers: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const { python } = values;
if (python === undefined) throw new RangeError('--python is missing: a Python that has bench/peers/requirements.txt');
const model = models.find((name) => name === values.model);
if (model === undefined) throw new RangeError(`--model is one of ${models.join(', ')}, not "${values.model}"`);
const picture = pictures[model];
const connections = (values.connections ?? picture.connections).split(',').map(Number);
const asked = values.peers?.split(',');
for (const name of asked ?? []) {
  if (servers.some((server) => server.name === name)) continue;
  throw new RangeError(`--peers: "${name}" is none of ${servers.map((server) => server.name).join(', ')}`);
}
const chosen = servers.filter(({ name, isOurs }) => isOurs || (asked?.includes(name) ?? true));

/** The server that is running: it must not outlive this program. */
let tree: ProcessTree | undefined;

requireWrk();
const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-peers-'));
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    tree?.kill();
    rmSync(folder, { recursive: true });
    process.exit(1);
  });
}
try {
  const files = await writeModel(python, model);
  const start = { model, python, files };
  const reference = await withServer(servers[0] as Server, start, async (_, answer) => answer);
  const seen = await measure(start, reference);
  const rows = connections.flatMap((count) => rowsOf(seen, count, model));
  if (values.json) for (const row of rows) console.log(JSON.stringify(row));
  else console.log(table(rows, `${model}, ${picture.path}, ${values.rounds} rounds of ${values.seconds} s`));
} finally {
  tree?.kill();
  await rm(folder, { recursive: true });
}

async function writeModel(program: string, name: ModelName): Promise<Start['files']> {
  const embedded = fileURLToPath(new URL('../../../models/fashion-vgg/fashion-vgg.pth', import.meta.url));
  const pth = name === 'vgg16' ? await writeStandIn(folder) : embedded;
  const onnx = join(folder, `${name}.onnx`);
  const exporter = fileURLToPath(new URL('../../../bench/peers/export.py', import.meta.url));
  const { status } = spawnSync(program, ['-B', '-W', 'ignore', exporter, name, pth, onnx], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) throw new Error(`${program} cannot run ${exporter}: has it bench/peers/requirements.txt?`);
  return { pth, onnx };
}

async function measure(start: Omit<Start, 'folder' | 'port'>, reference: Answer): Promise<Map<Server, Seen>> {
  const seen = new Map(chosen.map((server): [Server, Seen] => [server, { loads: new Map(), peakPss: 0 }]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const server of round % 2 === 0 ? chosen : chosen.toReversed()) {
      const of = seen.get(server);
      if (!of) continue;
      try {
        await withServer(server, start, async (url, answer) => {
          const wrong = difference(answer, reference, server.isExact);
          if (wrong !== undefined) throw new Error(wrong);
          await measureOne(url, of);
        });
      } catch (error) {
        seen.delete(server);
        console.error(`SKIPPED ${server.name}: ${(error as Error).message}`);
      }
    }
  }
  return seen;
}

/** All numbers of connections, one after the other. */
async function measureOne(url: string, of: Seen): Promise<void> {
  await load(url, picture, warmUp.connections, warmUp.seconds);
  const watch = setInterval(() => {
    of.peakPss = Math.max(of.peakPss, tree?.pss() ?? 0);
  }, memoryEveryMs);
  try {
    for (const count of connections) {
      await ask(url); // Answered after whatever the load before has left in the queue.
      const seen = await load(url, picture, count, Number(values.seconds));
      of.loads.set(count, [...(of.loads.get(count) ?? []), seen]);
    }
  } finally {
    clearInterval(watch);
  }
}

/** Starts a server, hands over where it answers and what it says of the picture, and stops it. */
async function withServer<T>(
  server: Server,
  start: Omit<Start, 'folder' | 'port'>,
  work: (url: string, answer: Answer) => Promise<T>,
): Promise<T> {
  const port = await freePort();
  const { program, args, env } = server.command({ ...start, port, folder: join(folder, server.name) });
  const running = new ProcessTree(program, args, env, join(folder, `${server.name}.log`));
  tree = running;
  try {
    const url = `http://127.0.0.1:${port}${server.path(start.model)}`;
    return await work(url, await untilAnswered(url, running));
  } finally {
    await running.stop();
    tree = undefined;
  }
}

async function untilAnswered(url: string, running: ProcessTree): Promise<Answer> {
  let last = '';
  for (const end = Date.now() + startTimeoutMs; Date.now() < end; await sleep(200)) {
    if (running.hasEnded) throw new Error(`it ended before it answered: ${running.lastWords()}`);
    const response = await ask(url).catch((error: Error) => error.message);
    if (typeof response !== 'string' && response.ok) return parseAnswer(response.text);
    last = typeof response === 'string' ? response : response.text;
  }
  throw new Error(`no answer in ${startTimeoutMs / 1000} s: ${last}; ${running.lastWords()}`);
}

async function ask(url: string): Promise<{ ok: boolean; text: string }> {
  const body = new Uint8Array(await readFile(picture.path));
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': picture.type }, body });
  return { ok: response.ok, text: await response.text() };
}
