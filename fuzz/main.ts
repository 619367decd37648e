/**
 * Sends inputs in which something is wrong along every way into the program, and says what came of them.
 *
 *     npm run fuzz -- --seconds N [--seed S] [--target NAME]... [--jobs N] [--corpus DIR] [--grow] [--json]
 *
 * Exits with 0, 1 on findings, 2 on wrong use. A finding is saved in the corpus (test/corpus), whose files
 * test/corpus.test.ts runs again. --grow saves the first input of each outcome, too.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { reportText } from './report.js';
import { type TargetName, targets } from './targets.js';
import { type TargetReport, watchTarget } from './watch.js';

const names = Object.keys(targets) as TargetName[];
const usage = `usage: npm run fuzz -- --seconds N [--seed S] [--target NAME]... [--jobs N] [--corpus DIR] [--grow] [--json]\ntargets: ${names.join(', ')}`;

interface Arguments {
  readonly seconds: number;
  readonly seed: number;
  readonly targets: readonly TargetName[];
  readonly jobs: number;
  readonly corpus: string;
  readonly grow: boolean;
  readonly json: boolean;
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      target: { type: 'string', multiple: true, default: names },
      jobs: { type: 'string', default: String(Math.min(2, availableParallelism())) },
      corpus: { type: 'string', default: 'test/corpus' },
      grow: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const unknown = values.target.find((name) => !names.some((known) => known === name));
  if (unknown !== undefined) throw new RangeError(`there is no target ${unknown}`);
  return {
    seconds: number('seconds', values.seconds),
    seed: number('seed', values.seed),
    targets: values.target as TargetName[],
    jobs: number('jobs', values.jobs),
    corpus: values.corpus,
    grow: values.grow,
    json: values.json,
  };
}

function number(name: string, text: string): number {
  if (/^\d+$/.test(text) && (name === 'seed' || Number(text) > 0) && Number.isSafeInteger(Number(text)))
    return Number(text);
  throw new RangeError(`--${name} is ${text}; allowed is a whole number${name === 'seed' ? '' : ' from 1'}`);
}

function argumentsOrExit(): Arguments {
  try {
    return readArguments();
  } catch (error) {
    console.error(`${(error as Error).message}\n${usage}`);
    process.exit(2);
  }
}

const given = argumentsOrExit();
if (!given.json) console.log(`seed ${given.seed}`);
const shares = given.targets.map((name) => targets[name].share);
const whole = shares.reduce((sum, share) => sum + share, 0);
const queue = [...given.targets];
const reports = new Map<TargetName, TargetReport>();

/** `jobs` targets are fuzzed at a time; each has its share of what all of them have in all. */
async function work(): Promise<void> {
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    const ms = (given.seconds * 1000 * Math.min(given.jobs, given.targets.length) * targets[name].share) / whole;
    const report = await watchTarget({ target: name, seed: given.seed, ms, corpus: given.corpus, grow: given.grow });
    reports.set(name, report);
    if (!given.json) console.log(reportText(name, report));
  }
}
await Promise.all(Array.from({ length: given.jobs }, work));

const all = [...reports.values()];
const inputs = all.reduce((sum, report) => sum + report.inputs, 0);
const findings = all.reduce((sum, report) => sum + report.findings.length, 0);
if (given.json) {
  const { seconds, seed } = given;
  console.log(JSON.stringify({ seconds, seed, inputs, findings, targets: Object.fromEntries(reports) }));
} else {
  console.log(`${inputs} inputs, ${findings} findings`);
}
process.exitCode = findings > 0 ? 1 : 0;
