/** Fuzzes one target in a process of its own, so that its end, its hang and its memory are seen from outside. */
import { ftruncateSync, openSync, writeSync } from 'node:fs';
import { saveInput } from './corpus.js';
import { NewCoverage, startCoverage } from './coverage.js';
import { checkPrototypes, Finding, type Outcome } from './finding.js';
import { growthInRounds, Sample } from './memory-rounds.js';
import { minimise } from './minimise.js';
import { peakBytes } from './processes.js';
import { Random } from './random.js';
import { type Opened, type Target, targets } from './targets.js';
import { type FoundInput, faultCode, type WorkerMessage, type WorkerTask } from './task.js';

const beatMs = 200;
/** Of the time; in the rest inputs are repeated and the memory is looked at. */
const fuzzingPart = 0.8;
const most = {
  kept: 400,
  keptBytes: 200_000,
  findings: 20,
  exampleBytes: 6000,
  minimiseRuns: 400,
  minimiseSlowRuns: 60,
};

async function fuzz(task: WorkerTask): Promise<void> {
  const target: Target = targets[task.target];
  const seeds = target.seeds();
  const pool = [...seeds];
  const opened = await target.open();
  const coverage = target.coverage.length > 0 ? await startCoverage(target.coverage) : undefined;
  const file = openSync(task.currentFile, 'w');
  const shapes = new Set<string>();
  const known = new Set(task.known);
  const outcomes: Record<string, number> = {};
  const findings: FoundInput[] = [];
  let inputs = 0;
  let escaped: Finding | undefined;
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(
      event,
      (error: unknown) =>
        (escaped = new Finding(`${event}: ${(error as Error).stack?.split('\n').slice(0, 2).join(' ') ?? error}`)),
    );
  }

  const say = (kind: WorkerMessage['kind']) => {
    const report = {
      inputs,
      outcomes,
      kept: pool.length - seeds.length,
      peakBytes: opened.peakBytes?.() ?? peakBytes(process.pid),
      findings,
    };
    process.send?.({ kind, report } satisfies WorkerMessage);
  };
  const keep = (input: Buffer) => {
    if (input.length > most.keptBytes) return;
    if (pool.length - seeds.length < most.kept) pool.push(input);
    else pool[seeds.length + (inputs % most.kept)] = input;
  };
  let beatAt = performance.now();
  /** Also of inputs that are run once more, so that a heart beats between any two. */
  const run = async (batch: readonly Buffer[]): Promise<(Outcome | Finding)[]> => {
    remember(file, batch);
    const results = await opened.run(batch);
    if (performance.now() - beatAt > beatMs) {
      say('beat');
      beatAt = performance.now();
    }
    if (escaped === undefined) return results;
    const finding = escaped;
    escaped = undefined;
    return results.map(() => finding);
  };

  const newCoverage = coverage && new NewCoverage(coverage, (input) => run([input]));

  say('ready');
  const sample = new Sample();
  const startedAt = performance.now();
  for (let n = task.from; performance.now() - startedAt < task.ms * fuzzingPart; ) {
    const batch: Buffer[] = [];
    while (batch.length < opened.parallel)
      batch.push(target.make(new Random(`${task.seed} ${task.target} ${n++}`), pool));
    const results = await run(batch);
    inputs += batch.length;
    for (const [at, result] of results.entries()) {
      const input = batch[at] as Buffer;
      const outcome = prototypesOr(result);
      if (outcome instanceof Finding) {
        if (known.has(outcome.message) || findings.length >= most.findings) continue;
        known.add(outcome.message);
        const smallest = await smaller(outcome, input, opened, run);
        findings.push({
          finding: outcome.message,
          path: saveInput(task.corpus, task.target, smallest, { found: outcome.message, expected: null }),
        });
        say('beat');
        continue;
      }
      if (task.grow && outcomes[outcome.name] === undefined) await saveExample(task, outcome, input, opened, run);
      outcomes[outcome.name] = (outcomes[outcome.name] ?? 0) + 1;
      if (!shapes.has(outcome.shape) && shapes.size < 5000) {
        shapes.add(outcome.shape);
        keep(input);
      } else if (newCoverage) for (const kept of await newCoverage.after(input)) keep(kept);
    }
    for (const input of batch) sample.offer(input);
  }
  const rounds = { inputs: sample.inputs, parallel: opened.parallel, run, bytes: opened.memoryBytes ?? ownBytes };
  const grown = await growthInRounds(rounds, startedAt + task.ms - performance.now());
  if (grown !== undefined) findings.push({ finding: `memory grows: ${grown}`, path: `seed ${task.seed}` });
  coverage?.close();
  await opened.close();
  say('done');
  process.disconnect();
}

async function ownBytes(): Promise<number> {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

function prototypesOr(result: Outcome | Finding): Outcome | Finding {
  try {
    checkPrototypes();
    return result;
  } catch (error) {
    return error as Finding;
  }
}

/** For whoever watches: what was under way when this process ended. Each input behind its length. */
function remember(file: number, batch: readonly Buffer[]): void {
  let at = 0;
  for (const input of batch) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(input.length);
    at += writeSync(file, length, 0, 4, at);
    at += writeSync(file, input, 0, input.length, at);
  }
  ftruncateSync(file, at);
}

type Run = (batch: readonly Buffer[]) => Promise<(Outcome | Finding)[]>;

async function smaller(finding: Finding, input: Buffer, { parallel }: Opened, run: Run): Promise<Buffer> {
  const fails = async (candidate: Buffer) => {
    const [result] = await run([candidate]);
    return result instanceof Finding && result.message === finding.message;
  };
  return await minimise(input, fails, parallel > 1 ? most.minimiseSlowRuns : most.minimiseRuns);
}

/** Keeps an input for its outcome, as small as can be. Over a socket the outcome may hang on time, so any is right there. */
async function saveExample(
  task: WorkerTask,
  { name }: Outcome,
  input: Buffer,
  opened: Opened,
  run: Run,
): Promise<void> {
  const same = async (candidate: Buffer) => {
    const [result] = await run([candidate]);
    return !(result instanceof Finding) && result?.name === name;
  };
  const example = await minimise(input, same, opened.parallel > 1 ? most.minimiseSlowRuns : most.minimiseRuns);
  if (example.length > most.exampleBytes) return;
  const known = { found: null, expected: opened.parallel > 1 ? null : name };
  saveInput(task.corpus, task.target, example, known);
}

process.on('disconnect', () => process.exit()); // Its own, when it is done, or the end of its parent.
try {
  await fuzz(JSON.parse(process.argv[2] ?? '') as WorkerTask);
} catch (error) {
  // A fault of the fuzzer itself.
  console.error(error);
  process.exit(faultCode);
}
