#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { commandHelp, verbHelp } from './cli/help.js';
import { parseConfig, UsageError } from './config.js';
import { nearest } from './nearest.js';
import { type Verb, verbs } from './options.js';

/** A verb's options are read before its code is loaded: help and wrong use answer at once. Each answers the exit code. */
const run = {
  async serve(argv, env) {
    const config = parseConfig(argv, env, 'serve');
    return await (await import('./cli/serve.js')).serve(config);
  },
  async classify(argv, env) {
    const config = parseConfig(argv, env, 'classify');
    return await (await import('./cli/classify.js')).classify(config, env);
  },
  async eval(argv, env) {
    const config = parseConfig(argv, env, 'eval');
    return await (await import('./cli/eval.js')).evaluate(config, env);
  },
  async preprocess(argv, env) {
    const config = parseConfig(argv, env, 'preprocess');
    return await (await import('./cli/preprocess.js')).preprocess(config);
  },
  async models(argv, env) {
    const config = parseConfig(argv, env, 'models');
    return await (await import('./cli/models.js')).models(config, env);
  },
  async pull(argv, env) {
    const config = parseConfig(argv, env, 'pull');
    return await (await import('./cli/pull.js')).pull(config, env);
  },
  async describe(argv, env) {
    const config = parseConfig(argv, env, 'describe');
    return await (await import('./cli/describe.js')).describe(config, env);
  },
  async verify(argv, env) {
    const config = parseConfig(argv, env, 'verify');
    return await (await import('./cli/verify.js')).verify(config);
  },
  async init(argv, env) {
    const config = parseConfig(argv, env, 'init');
    return await (await import('./cli/init.js')).init(config);
  },
  async key(argv, env) {
    const config = parseConfig(argv, env, 'key');
    return (await import('./cli/key.js')).key(config);
  },
  async doctor(argv, env) {
    const config = parseConfig(argv, env, 'doctor');
    return await (await import('./cli/doctor.js')).doctor(config, env);
  },
} satisfies Record<Verb, (argv: string[], env: NodeJS.ProcessEnv) => Promise<number>>;

// A reader that has seen enough (`| head`) is no fault of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`vgg-serve: ${messageOf(error)}\n`);
  process.exitCode = isWrongUse(error) ? 2 : 1;
}

async function main(argv: string[]): Promise<number> {
  const options = argv.slice(0, argv.includes('--') ? argv.indexOf('--') : undefined);
  const [first = ''] = argv;
  if (first === '--version') {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  const named = first !== '' && !first.startsWith('-');
  const verb = named ? asVerb(first) : 'serve';
  if (options.includes('--help') || options.includes('-h')) {
    process.stdout.write(named ? verbHelp(verb) : commandHelp());
    return 0;
  }
  return await run[verb](named ? argv.slice(1) : argv, process.env);
}

function asVerb(word: string): Verb {
  const known = Object.keys(verbs) as Verb[];
  const verb = known.find((one) => one === word);
  if (verb !== undefined) return verb;
  const near = nearest(word, known);
  const hint = near === undefined ? `give one of ${known.join(', ')}` : `did you mean ${near}?`;
  throw new UsageError(`"${word}" is not a verb: ${hint}`);
}

function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
}

function isWrongUse(error: unknown): boolean {
  return (
    error instanceof Error &&
    ['UsageError', 'AccessError', 'UnknownModelError', 'DuplicateModelError', 'SamplesError'].includes(error.name)
  );
}

/** The stack comes only with what is a fault of the program: a TypeError and the like, but not the system's errors. */
function messageOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return String(error);
  const isBug = error.name !== 'Error' && error.name in globalThis && !('code' in error);
  return isBug ? error.stack : error.message;
}
