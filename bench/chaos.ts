/**
 * What clients notice of an engine that is killed and stopped all the time: nothing but the time it takes.
 *
 *     npm run chaos -- [--seconds 60] [--connections 16] [--model fashion-vgg] [--engine auto] [--every-ms 2000]
 *                      [--engine-timeout-ms 1000] [--json]
 *
 * The real server runs in a process of its own. Each connection sends the sample pictures of the embedded model one after
 * the other, as fast as it is answered. Meanwhile the process of the engine is killed (SIGKILL) every two seconds (one that
 * takes longer than that to start: a second after it lives again), and every fifth time stopped instead (SIGSTOP) and left
 * so, for the server to find out by --engine-timeout-ms. Every answer is
 * compared with what the server said before the first kill, and for the embedded model with the classes that are known.
 *
 * Exits with 1 when a request failed or an answer was wrong, and when nothing was asked or disturbed. --json prints one line
 * to stdout: {requests, failed, wrong, kills, stops, p99_ms}.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { machineLines } from './machine.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    connections: { type: 'string', default: '16' },
    model: { type: 'string', default: 'fashion-vgg' },
    engine: { type: 'string', default: 'auto' },
    'every-ms': { type: 'string', default: '2000' },
    'engine-timeout-ms': { type: 'string', default: '1000' },
    json: { type: 'boolean', default: false },
  },
});
const seconds = positive('seconds', values.seconds);
const connections = positive('connections', values.connections);
const everyMs = positive('every-ms', values['every-ms']);
const { model } = values;

/** Every so many times the engine is stopped instead of killed. */
const stopEvery = 5;
/** Of one answer's probabilities to those of another: the pictures that share a batch change the last bits. */
const tolerance = 1e-5;
/** A request is answered within --timeout-ms; only a server that is stuck keeps one so long. */
const clientTimeoutMs = 60_000;
const shownFaults = 5;

interface Picture {
  readonly name: string;
  readonly bytes: Buffer;
}

interface Prediction {
  readonly label: string;
  readonly index: number;
  readonly probability: number;
}

interface Tally {
  requests: number;
  failed: number;
  wrong: number;
  kills: number;
  stops: number;
  readonly latenciesMs: number[];
  readonly faults: string[];
}

const samples = fileURLToPath(new URL('../../models/fashion-vgg/samples/', import.meta.url));
const pictures: Picture[] = readdirSync(samples)
  .sort()
  .map((name) => ({ name, bytes: readFileSync(`${samples}${name}`) }));

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());

const server = spawn(
  process.execPath,
  [
    fileURLToPath(new URL('../src/cli.js', import.meta.url)),
    ...['serve', '--port', '0', '--log-level', 'info', '--model', model, '--engine', values.engine],
    ...['--engine-timeout-ms', values['engine-timeout-ms'], '--timeout-ms', '30000'],
  ],
  // A group of its own: Ctrl-C comes to this process alone, which ends the server.
  { stdio: ['ignore', 'pipe', 'inherit'], detached: true, env: ownEnvironment() },
);
process.on('exit', () => server.kill('SIGKILL')); // Its engine ends with it.
/** The reasons for which the server said that it started its engine again, and the last that it said at all. */
const serverSaid: string[] = [];

try {
  process.exitCode = await run();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await end(server);
}
if (interrupted.signal.aborted) process.exitCode = 130;

async function run(): Promise<number> {
  const url = await listening(server);
  await untilReady(url);
  const clients = new Pool(url, { connections, headersTimeout: clientTimeoutMs, bodyTimeout: clientTimeoutMs });
  const tally: Tally = { requests: 0, failed: 0, wrong: 0, kills: 0, stops: 0, latenciesMs: [], faults: [] };
  const known = await recordAnswers(clients);
  const disturbing = new AbortController();
  const endsAt = performance.now() + seconds * 1000;
  const isOver = () => performance.now() >= endsAt || interrupted.signal.aborted || server.exitCode !== null;
  const chaos = disturb(url, tally, disturbing.signal);
  await Promise.all(Array.from({ length: connections }, (_, at) => ask(clients, known, at, tally, isOver)));
  disturbing.abort();
  await chaos;
  const restarts = await restartsOf(clients);
  await clients.destroy();
  report(tally, restarts);
  for (const fault of tally.faults) console.error(fault);
  if (server.exitCode !== null) console.error(`the server ended with ${server.exitCode}`);
  const provesNothing = tally.requests === 0 || tally.kills === 0;
  if (provesNothing) console.error('Nothing was asked, or nothing was killed: that proves nothing.');
  return tally.failed > 0 || tally.wrong > 0 || provesNothing || server.exitCode !== null ? 1 : 0;
}

/** What the server says of each picture while nothing happens to it. */
async function recordAnswers(clients: Pool): Promise<Map<string, readonly Prediction[]>> {
  const known = new Map<string, readonly Prediction[]>();
  for (const picture of pictures) {
    const predictions = await classify(clients, picture);
    if (model === 'fashion-vgg' && predictions[0]?.label !== trueAnswer(picture.name)) {
      throw new Error(`${picture.name} is ${predictions[0]?.label} even before anything was killed`);
    }
    known.set(picture.name, predictions);
  }
  return known;
}

/** The class that the embedded model gives a sample. Its file is named after the true one; the model is wrong once. */
function trueAnswer(file: string): string {
  const [name = ''] = /^[a-z]+(-[a-z]+)*/.exec(basename(file, '.png')) ?? [];
  const labels: Record<string, string> = { 'ankle-boot': 'Ankle boot', 't-shirt-top': 'T-shirt/top' };
  if (file === 'ankle-boot-2.png') return 'Sandal';
  return labels[name] ?? `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}

/** One connection: one request after the other. */
async function ask(
  clients: Pool,
  known: ReadonlyMap<string, readonly Prediction[]>,
  first: number,
  tally: Tally,
  isOver: () => boolean,
): Promise<void> {
  for (let at = first; !isOver(); at++) {
    const picture = pictures[at % pictures.length] as Picture;
    const startedAt = performance.now();
    try {
      const predictions = await classify(clients, picture);
      if (!isSame(predictions, known.get(picture.name) ?? [])) {
        tally.wrong++;
        note(tally, `wrong: ${picture.name} is ${JSON.stringify(predictions)}`);
      }
    } catch (error) {
      tally.failed++;
      note(tally, `failed: ${(error as Error).message}`);
    }
    tally.requests++;
    tally.latenciesMs.push(performance.now() - startedAt);
  }
}

function note(tally: Tally, fault: string): void {
  if (tally.faults.length < shownFaults) tally.faults.push(fault);
}

async function classify(clients: Pool, { name, bytes }: Picture): Promise<readonly Prediction[]> {
  const { statusCode, body } = await clients.request({
    method: 'POST',
    path: '/classify',
    headers: { 'content-type': 'image/png' },
    body: bytes,
  });
  const text = await body.text();
  if (statusCode !== 200) throw new Error(`${name}: ${statusCode} ${text}`);
  const answer = JSON.parse(text) as { results: { predictions?: Prediction[] }[] };
  return answer.results[0]?.predictions ?? [];
}

function isSame(seen: readonly Prediction[], expected: readonly Prediction[]): boolean {
  return (
    seen.length > 0 &&
    seen.length === expected.length &&
    seen.every(({ index, probability }, at) => {
      const other = expected[at];
      return index === other?.index && Math.abs(probability - other.probability) <= tolerance;
    })
  );
}

/**
 * Until the signal comes. An engine that takes long to start is given half the time between two kills to work in: else a
 * large network would never get to an answer.
 */
async function disturb(url: string, tally: Tally, signal: AbortSignal): Promise<void> {
  const pause = (ms: number) => sleep(ms, undefined, { signal }).catch(() => undefined);
  for (let turn = 1; !signal.aborted; turn++) {
    await pause(everyMs);
    if (!(await isUp(url))) {
      while (!signal.aborted && !(await isUp(url))) await pause(10);
      await pause(everyMs / 2);
    }
    const pid = engineOf(server.pid);
    if (signal.aborted || pid === undefined) continue;
    const isStop = turn % stopEvery === 0;
    try {
      process.kill(pid, isStop ? 'SIGSTOP' : 'SIGKILL');
    } catch {
      continue; // It has just ended by itself.
    }
    if (isStop) tally.stops++;
    else tally.kills++;
    // The server must find that out by itself.
    while (isStop && !signal.aborted && engineOf(server.pid) === pid) await pause(10);
  }
}

async function isUp(url: string): Promise<boolean> {
  return (await fetch(`${url}/health/ready`)).ok;
}

/** The process of the engine, which the server has started; undefined while there is none. */
function engineOf(parent: number | undefined): number | undefined {
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const [state, parentPid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(parentPid) !== parent || state === 'Z') continue;
      if (readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes('engines/child.js')) return Number(entry);
    } catch {
      // It ended while it was looked at.
    }
  }
  return undefined;
}

async function listening(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout as NonNullable<ChildProcess['stdout']> });
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the server ended with ${code} before it listened`)));
    lines.on('line', (line) => {
      const [url] = /http:\/\/[\w.:]+/.exec(line) ?? [];
      if (line.includes('Server listening') && url !== undefined) resolve(url);
      if (line.includes('engine restarted') || line.includes('"level":60')) serverSaid.push(line);
    });
  });
}

async function untilReady(url: string): Promise<void> {
  for (;;) {
    interrupted.signal.throwIfAborted();
    if (server.exitCode !== null) throw new Error(`the server ended with ${server.exitCode} before it was ready`);
    const answer = await fetch(`${url}/health/ready`);
    if (answer.ok) return;
    const { detail } = (await answer.json()) as { detail: string };
    if (/ is failed/.test(detail)) throw new Error(detail);
    await sleep(50);
  }
}

/** By their reason, as the server counts them. */
async function restartsOf(clients: Pool): Promise<string> {
  const { body } = await clients.request({ method: 'GET', path: '/metrics' });
  const counts = [...(await body.text()).matchAll(/^vgg_serve_engine_restarts_total\{.*reason="(\w+)"\} (\d+)$/gm)];
  return counts.map(([, reason, count]) => `${reason} ${count}`).join(', ');
}

function report({ requests, failed, wrong, kills, stops, latenciesMs }: Tally, restarts: string): void {
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  const rank = (share: number) => round(sorted[Math.max(Math.ceil(share * sorted.length) - 1, 0)] ?? 0);
  if (values.json) {
    console.log(JSON.stringify({ requests, failed, wrong, kills, stops, p99_ms: rank(0.99) }));
    return;
  }
  console.log(machineLines(['fastify', 'onnxruntime-node']));
  console.log(`${model} on ${values.engine}, ${connections} connections, ${seconds} s, disturbed every ${everyMs} ms`);
  const rows = [
    ['requests', String(requests)],
    ['failed', String(failed)],
    ['wrong answers', String(wrong)],
    ['kills (SIGKILL)', String(kills)],
    ['stops (SIGSTOP)', String(stops)],
    ['engines started again', restarts],
    ['p50, p99, slowest', `${rank(0.5)} ms, ${rank(0.99)} ms, ${rank(1)} ms`],
  ];
  for (const [name = '', value] of rows) console.log(`  ${name.padEnd(24)}${value}`);
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** SIGTERM, and after a while SIGKILL; the engine ends with its server. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await exit;
  clearTimeout(timer);
}

/** Without the options that the shell may hold for the service. */
function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VGG_SERVE_|HOST$|PORT$)/.test(name)));
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new RangeError(`--${name} is ${text}; give a number above 0`);
}
