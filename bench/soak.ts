/**
 * Whether the service stays as it is: pictures of every kind, good and refused, for half an hour at 70 % of what it can
 * do, in an open loop. Prints what the resident memory of the server and of its engine does, their descriptors, and the
 * latency in windows of a sixth of the time (five minutes of thirty).
 *
 *     npm run bench:soak -- [--minutes 30] [--load 0.7 | --rate PER_SECOND] [--model fashion-vgg] [--check] [--json]
 *
 * The first sixth is warm-up for the memory (V8's heap grows to the size it works with). Its slope is fitted by least
 * squares to the medians of twelve blocks of the rest; its noise is the half-width of the 95 % interval of that fit.
 * With --check it ends with 1 when a process grows by more than noise and by more than 2 % of its size in an hour; when one
 * has more descriptors at rest than before; when the 99th percentile of the last window is more than 1.10 times that of
 * the first; when a request was answered otherwise than at first, or not at all.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { machineLines } from './machine.js';
import { childrenOf, memoryOf } from './memory.js';
import { startService } from './service.js';
import type { SoakOrder, SoakReport } from './soak-load.js';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    load: { type: 'string', default: '0.7' },
    rate: { type: 'string' },
    model: { type: 'string', default: 'fashion-vgg' },
    check: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

const minutes = Number(values.minutes);
const windows = 6;
const sampleEveryMs = Math.min(5_000, (minutes * 60_000) / 72);
/** Of Student's distribution with ten degrees of freedom, both sides. */
const t95 = 2.228;
const blocks = 12;
const allowedPerHour = 0.02;
const allowedRatio = 1.1;

interface Sample {
  readonly atMs: number;
  readonly rss: number;
  readonly descriptors: number;
  readonly threads: number;
}

/** One of the two processes. */
interface Watched {
  readonly name: string;
  readonly pid: number;
  readonly samples: Sample[];
  /** At rest. */
  readonly before: number;
  after: number;
}

const say = (line: string) => void (values.json || console.log(line));
const service = await startService(['--model', values.model]);
const load = fork(new URL('./soak-load.js', import.meta.url));
try {
  say(machineLines(['fastify', 'sharp', 'onnxruntime-node']));
  const capacity = await capacityOf(service.url);
  const rate = values.rate === undefined ? capacity * Number(values.load) : Number(values.rate);
  say(
    `${values.model}: ${capacity.toFixed(1)} requests/s in a closed loop; ${rate.toFixed(1)} for ${minutes} minutes\n`,
  );
  await sleep(1_000); // For connections to be gone.

  const [engine = Number.NaN] = childrenOf(service.pid);
  const watched = [watch('server', service.pid), watch('engine', engine)];
  const startedAt = performance.now();
  const reports: { atMs: number; report: SoakReport }[] = [];
  const onReport = (message: unknown) => {
    if (typeof message === 'object') {
      reports.push({ atMs: performance.now() - startedAt, report: message as SoakReport });
    }
  };
  load.on('message', onReport);
  const timer = setInterval(() => {
    for (const { pid, samples } of watched) samples.push(sampleOf(pid, performance.now() - startedAt));
  }, sampleEveryMs);
  await told(load, { url: service.url, rate, seconds: minutes * 60 });
  clearInterval(timer);
  load.off('message', onReport);
  await sleep(1_000);
  for (const one of watched) one.after = descriptorsOf(one.pid);
  conclude(watched, reports, capacity, rate);
} finally {
  load.kill();
  await service.stop();
}

/** The first loop is for V8, which compiles what a request runs through. */
async function capacityOf(url: string): Promise<number> {
  let perSecond = 0;
  load.on('message', (message: { perSecond?: number }) => {
    perSecond = message.perSecond ?? perSecond;
  });
  for (const seconds of [5, Math.min(20, minutes * 10)]) await told(load, { url, connections: 16, seconds });
  return perSecond;
}

async function told(child: ChildProcess, order: SoakOrder): Promise<void> {
  child.send(order);
  await new Promise<void>((resolve, reject) => {
    const onMessage = (message: unknown) => {
      if (message !== 'done') return;
      child.off('message', onMessage).off('exit', onExit);
      resolve();
    };
    const onExit = (code: number | null) => reject(new Error(`the clients ended with ${code}`));
    child.on('message', onMessage).on('exit', onExit);
  });
}

function conclude(
  watched: readonly Watched[],
  reports: readonly { atMs: number; report: SoakReport }[],
  capacity: number,
  rate: number,
): void {
  const windowMs = (minutes * 60_000) / windows;
  const faults: string[] = [];
  say(
    '| process | resident at first, MB | at last | slope, MB/h | noise, MB/h | descriptors at rest, before | after | threads, first | last |',
  );
  say('|---|---|---|---|---|---|---|---|---|');
  const processes = watched.map(({ name, samples, before, after }) => {
    const steady = samples.filter(({ atMs }) => atMs > windowMs);
    const { slope, noise, mean } = slopeOf(steady);
    const [first, last] = [steady[0] as Sample, steady.at(-1) as Sample];
    const inMegabytes = [first.rss, last.rss, slope, noise].map((bytes) => round(bytes / 1e6));
    say(`| ${[name, ...inMegabytes, before, after, first.threads, last.threads].join(' | ')} |`);
    if (slope > noise && slope > allowedPerHour * mean) faults.push(`the ${name} grows by ${round(slope / 1e6)} MB/h`);
    if (after > before) faults.push(`the ${name} has ${after} descriptors, and had ${before}`);
    const [rssFirst, rssLast, mbPerHour, mbPerHourNoise] = inMegabytes;
    return {
      name,
      rss_first_mb: rssFirst,
      rss_last_mb: rssLast,
      mb_per_hour: mbPerHour,
      noise: mbPerHourNoise,
      descriptors: [before, after],
    };
  });

  const latencies = Array.from({ length: windows }, () => [] as number[]);
  for (const { atMs, report } of reports) {
    latencies[Math.min(windows - 1, Math.floor((atMs - 1) / windowMs))]?.push(...report.latencies);
  }
  say(`\n| window of ${round(windowMs / 60_000)} minutes | requests | p50 ms | p99 ms |`);
  say('|---|---|---|---|');
  const rows = latencies.map((list, at) => {
    list.sort((a, b) => a - b);
    const [p50, p99] = [percentile(list, 0.5), percentile(list, 0.99)];
    say(`| ${at + 1} | ${list.length} | ${round(p50)} | ${round(p99)} |`);
    return { requests: list.length, p50_ms: round(p50), p99_ms: round(p99) };
  });
  const ratio = percentile(latencies.at(-1) ?? [], 0.99) / percentile(latencies[0] ?? [], 0.99);
  if (!(ratio <= allowedRatio))
    faults.push(`the p99 of the last window is ${ratio.toFixed(2)} times that of the first`);

  const statuses: Record<string, number> = {};
  const total = (field: 'changed' | 'broken' | 'left') => reports.reduce((sum, { report }) => sum + report[field], 0);
  for (const { report } of reports) {
    for (const [status, count] of Object.entries(report.statuses)) statuses[status] = (statuses[status] ?? 0) + count;
  }
  const [changed, broken, left] = [total('changed'), total('broken'), total('left')];
  if (changed + broken > 0) faults.push(`${changed} were answered otherwise than at first, ${broken} not at all`);
  say(`\np99 of the last window / of the first: ${ratio.toFixed(3)}`);
  say(
    `statuses ${JSON.stringify(statuses)}, answered otherwise than at first ${changed}, broken ${broken}; clients that left ${left}`,
  );
  for (const fault of faults) console.error(fault);
  if (values.json) {
    const figures = {
      minutes,
      capacity: round(capacity),
      rate: round(rate),
      processes,
      windows: rows,
      p99_ratio: round(ratio),
    };
    console.log(JSON.stringify({ ...figures, statuses, changed, broken, left, faults }));
  }
  if (values.check && faults.length > 0) process.exitCode = 1;
}

/** Bytes an hour, of the medians of blocks of equal length. */
function slopeOf(samples: readonly Sample[]): { slope: number; noise: number; mean: number } {
  const points = Array.from({ length: blocks }, (_, at) => {
    const block = samples.slice(
      Math.floor((at * samples.length) / blocks),
      Math.floor(((at + 1) * samples.length) / blocks),
    );
    return {
      x: block.reduce((sum, { atMs }) => sum + atMs, 0) / block.length / 3_600_000,
      y: percentile(
        block.map(({ rss }) => rss).sort((a, b) => a - b),
        0.5,
      ),
    };
  });
  const meanOf = (list: readonly number[]) => list.reduce((sum, value) => sum + value, 0) / list.length;
  const [meanX, meanY] = [meanOf(points.map(({ x }) => x)), meanOf(points.map(({ y }) => y))];
  const spread = points.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const rest = points.reduce((sum, { x, y }) => sum + (y - meanY - slope * (x - meanX)) ** 2, 0);
  return { slope, noise: t95 * Math.sqrt(rest / (blocks - 2) / spread), mean: meanY };
}

function watch(name: string, pid: number): Watched {
  const before = descriptorsOf(pid);
  return { name, pid, samples: [], before, after: before };
}

function sampleOf(pid: number, atMs: number): Sample {
  const threads = Number(/^Threads:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return { atMs, rss: memoryOf(pid).rss, descriptors: descriptorsOf(pid), threads };
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Nearest rank, of a sorted list. */
function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(Math.ceil(share * sorted.length) - 1, 0)] ?? Number.NaN;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
