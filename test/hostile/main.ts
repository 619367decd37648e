/**
 * npm run hostile [-- --flips N] [--json]: sends every hostile picture to the real app and reads every hostile checkpoint,
 * each in a process of its own, and prints what became of them by kind. Ends with 1 when anything is not as it should be.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { megabytes } from '../../bench/memory.js';
import { flips, heaviestPictures, hostilePictures } from './pictures.js';
import type { Read } from './read-checkpoints.js';
import { servePictures } from './serve-pictures.js';

const { values } = parseArgs({ options: { flips: { type: 'string', default: '4000' }, json: { type: 'boolean' } } });

/** 7071 x 7071: as many pixels as a picture may have by default. */
const side = 7071;
const most = {
  pictureMs: 5000,
  /** 16 bytes for each of 50 million pixels. */
  pictureBytes: 800e6,
  checkpointMs: 1000,
  checkpointBytes: 200e6,
  growth: 1.15,
};

type Case = Pick<Read, 'kind' | 'name' | 'outcome' | 'isExpected' | 'ms' | 'cpuMs' | 'peakBytes'>;

async function main(): Promise<void> {
  const heaviest = heaviestPictures(side);
  const pictures = [...heaviest, ...hostilePictures, ...flips(Number(values.flips))];
  const { served, residentBefore, residentAfter, togetherBytes } = await servePictures(pictures, heaviest);
  const { checkpoints, wasRun } = await readCheckpoints();
  // The bytes of a request are there as they come in, as a whole, and in the thread.
  const sentBytes = served.slice(0, heaviest.length).reduce((sum, { bytes }) => sum + bytes, 0);
  const growth = residentBefore > 0 ? residentAfter / residentBefore : 1;
  const findings = [
    ...served.flatMap((row) => finding(row, most.pictureMs, most.pictureBytes)),
    ...checkpoints.flatMap((row) => finding(row, most.checkpointMs, most.checkpointBytes)),
    ...(growth > most.growth ? [`memory grew to ${growth.toFixed(2)} times what it was`] : []),
    ...(togetherBytes > most.pictureBytes + 3 * sentBytes ? [`all at once took ${megabytes(togetherBytes)} MB`] : []),
    ...(wasRun ? ['a payload of a checkpoint was run'] : []),
  ];
  const report = {
    pictures: byKind(served),
    checkpoints: byKind(checkpoints),
    together_mb: Number(megabytes(togetherBytes)),
    resident_mb: [Number(megabytes(residentBefore)), Number(megabytes(residentAfter))],
    findings,
  };
  if (values.json) console.log(JSON.stringify(report));
  else print(report);
  process.exitCode = findings.length > 0 ? 1 : 0;
}

function finding({ kind, name, outcome, isExpected, ms, cpuMs, peakBytes }: Case, mostMs: number, mostBytes: number) {
  const found = [
    ...(isExpected ? [] : [outcome]),
    ...(Math.min(ms, cpuMs) > mostMs ? [`${ms.toFixed(0)} ms`] : []), // On a busy machine only the time of the processor tells.
    ...(peakBytes > mostBytes ? [`${megabytes(peakBytes)} MB`] : []),
  ];
  return found.map((what) => `${kind}: ${name}: ${what}`);
}

async function readCheckpoints(): Promise<{ checkpoints: readonly Read[]; wasRun: boolean }> {
  const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-hostile-'));
  const marker = join(folder, 'marker');
  try {
    const script = fileURLToPath(new URL('./read-checkpoints.js', import.meta.url));
    const child = fork(script, [marker], { execArgv: ['--expose-gc'] });
    let checkpoints: readonly Read[] = [];
    child.on('message', (read: readonly Read[]) => (checkpoints = read));
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error(`The process that reads the checkpoints ended with ${code}.`);
    return { checkpoints, wasRun: existsSync(marker) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface KindRow {
  readonly kind: string;
  readonly n: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly worst_ms: number;
  readonly worst_cpu_ms: number;
  readonly worst_mb: number;
}

function byKind(cases: readonly Case[]): KindRow[] {
  return [...new Set(cases.map(({ kind }) => kind))].map((kind) => {
    const rows = cases.filter((row) => row.kind === kind);
    const outcomes: Record<string, number> = {};
    for (const { outcome } of rows) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    const worst = (of: (row: Case) => number) => Math.round(Math.max(...rows.map(of)));
    return {
      kind,
      n: rows.length,
      outcomes,
      worst_ms: worst(({ ms }) => ms),
      worst_cpu_ms: worst(({ cpuMs }) => cpuMs),
      worst_mb: Number(megabytes(worst(({ peakBytes }) => peakBytes))),
    };
  });
}

function print(report: {
  pictures: KindRow[];
  checkpoints: KindRow[];
  together_mb: number;
  resident_mb: number[];
  findings: string[];
}) {
  for (const rows of [report.pictures, report.checkpoints]) {
    console.log(
      '\n| kind | n | outcome | worst ms | worst ms of the processor | worst MB |\n|---|---|---|---|---|---|',
    );
    for (const { kind, n, outcomes, worst_ms, worst_cpu_ms, worst_mb } of rows) {
      const shown = Object.entries(outcomes).map(([outcome, count]) => `${outcome} ${count}`);
      console.log(`| ${kind} | ${n} | ${shown.join(', ')} | ${worst_ms} | ${worst_cpu_ms} | ${worst_mb} |`);
    }
  }
  console.log(`\nThe largest that are read, all at once, 4 threads: ${report.together_mb} MB above what there was.`);
  console.log(`Resident before the pictures, and after: ${report.resident_mb.join(' and ')} MB.`);
  console.log(report.findings.length === 0 ? 'Nothing found.' : `\nFOUND:\n${report.findings.join('\n')}`);
}

await main();
