import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { saveInput } from './corpus.js';
import { shapeOf } from './finding.js';
import { cpuSeconds } from './processes.js';
import type { TargetName } from './targets.js';
import { type FoundInput, faultCode, type WorkerMessage, type WorkerReport, type WorkerTask } from './task.js';

export interface TargetReport extends WorkerReport {
  /** Of fuzzing, without what it took to start. */
  readonly seconds: number;
}

/**
 * An input hangs when its process has used so much CPU time without coming to an end: a slow machine uses no more of it.
 * One that waits for something that never comes uses none; only the wall clock tells that, with a limit that is generous.
 */
const usualHang = { cpuSeconds: 5, wallMs: 90_000 };
const lookMs = 250;
const worker = new URL('./worker.js', import.meta.url);

export interface WatchOptions {
  /** @default worker.js */
  readonly program?: URL;
  readonly hang?: Hang;
  /** @default 25 */
  readonly mostStarts?: number;
}

type Hang = { readonly cpuSeconds: number; readonly wallMs: number };

const nothing: WorkerReport = { inputs: 0, outcomes: {}, kept: 0, peakBytes: 0, findings: [] };

/** Fuzzes a target in a process of its own for `ms`, which is started again when it dies. */
export async function watchTarget(
  task: Pick<WorkerTask, 'target' | 'seed' | 'ms' | 'corpus' | 'grow'>,
  options: WatchOptions = {},
): Promise<TargetReport> {
  const { mostStarts = 25 } = options;
  const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-fuzz-'));
  const currentFile = join(folder, 'current');
  let total: WorkerReport = nothing;
  let usedMs = 0;
  for (let starts = 0; starts < mostStarts && usedMs < task.ms; starts++) {
    const known = total.findings.map(({ finding }) => finding);
    const { report, ms, died } = await runOnce(
      {
        ...task,
        from: total.inputs + starts,
        ms: task.ms - usedMs,
        currentFile,
        known,
      },
      options,
    );
    total = sum(total, report);
    usedMs += ms;
    if (died === undefined) break;
    if (total.findings.some(({ finding }) => finding === died)) continue;
    const found = await saveCurrent(currentFile, task.corpus, task.target, died);
    total = { ...total, findings: [...total.findings, ...found] };
  }
  await rm(folder, { recursive: true });
  return { ...total, seconds: usedMs / 1000 };
}

/** @returns `died`: how the process ended, unless it did when its time was over */
async function runOnce(
  task: WorkerTask,
  { program = worker, hang = usualHang }: WatchOptions,
): Promise<{ report: WorkerReport; ms: number; died: string | undefined }> {
  const child = fork(fileURLToPath(program), [JSON.stringify(task)], {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const onEnd = () => child.kill('SIGKILL');
  process.once('exit', onEnd);
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000);
  });
  let report = nothing;
  let startedAt = Number.NaN;
  let isDone = false;
  const pulse = { at: performance.now(), cpu: 0 };
  child.on('message', (message: WorkerMessage) => {
    report = message.report;
    if (message.kind === 'ready') startedAt = performance.now();
    isDone = message.kind === 'done';
    pulse.at = performance.now();
    pulse.cpu = cpuSeconds(child.pid);
  });
  let hung: string | undefined;
  let suspectAt: number | undefined;
  const timer = setInterval(() => {
    const suspicion = hangOf(child, pulse, hang);
    // Who watches may have stood still himself, and beats wait to be read until after this first look.
    if (suspicion !== undefined && suspectAt === pulse.at) {
      hung ??= suspicion;
      child.kill('SIGKILL');
    }
    suspectAt = suspicion === undefined ? undefined : pulse.at;
  }, lookMs);
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  clearInterval(timer);
  process.removeListener('exit', onEnd);
  const ms = Number.isNaN(startedAt) ? 0 : performance.now() - startedAt;
  if (Number.isNaN(startedAt) || code === faultCode) {
    throw new Error(`the fuzzer of ${task.target} has failed (${signal ?? code}):\n${said}`);
  }
  if (isDone && code === 0) return { report, ms, died: undefined };
  const words = said.split('\n').find((line) => /error|abort|fatal|assert/i.test(line)) ?? '';
  return { report, ms, died: hung ?? `the process ended (${signal ?? code}): ${shapeOf(words)}`.trim() };
}

function hangOf({ pid }: ChildProcess, pulse: { at: number; cpu: number }, hang: Hang): string | undefined {
  const silentMs = performance.now() - pulse.at;
  // A heart beats five times a second, so what was used since the last one was used by one input, or by a few small ones.
  if (silentMs > 1000 && cpuSeconds(pid) - pulse.cpu > hang.cpuSeconds)
    return `hangs: more than ${hang.cpuSeconds} s of CPU time`;
  return silentMs > hang.wallMs ? `hangs: no end within ${hang.wallMs / 1000} s` : undefined;
}

/** The inputs that were under way. */
async function saveCurrent(file: string, corpus: string, target: TargetName, finding: string): Promise<FoundInput[]> {
  const bytes = await readFile(file);
  const inputs: Buffer[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    inputs.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return inputs.map((input) => ({
    finding,
    path: saveInput(corpus, target, input, { found: finding, expected: null }),
  }));
}

function sum(a: WorkerReport, b: WorkerReport): WorkerReport {
  const outcomes = { ...a.outcomes };
  for (const [name, count] of Object.entries(b.outcomes)) outcomes[name] = (outcomes[name] ?? 0) + count;
  return {
    inputs: a.inputs + b.inputs,
    outcomes,
    kept: a.kept + b.kept,
    peakBytes: Math.max(a.peakBytes, b.peakBytes),
    findings: [...a.findings, ...b.findings],
  };
}
