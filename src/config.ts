import { nearest } from './nearest.js';
import type { Kind } from './option-kinds.js';
import { type Option, options, orderedPairs, type Verb, verbs } from './options.js';

type Options = typeof options;

type Value<Row> = Row extends { readonly kind: Kind<infer T> }
  ? Row extends { readonly repeatable: unknown }
    ? readonly T[]
    : Row extends { readonly default: undefined }
      ? T | undefined
      : T
  : never;

/** The frozen values of the options that a verb accepts, or that all of several verbs accept. */
export type Config<V extends Verb = 'serve'> = {
  readonly [Key in keyof Options as [V] extends [Options[Key]['verbs'][number]] ? Key : never]: Value<Options[Key]>;
} & {
  /** What was given besides options: files, or a folder. */
  readonly operands: readonly string[];
};

/** Wrong use of the command: an option, a variable or an operand. The message says which, what was seen and what is allowed. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A row of the table with the names that follow from its key. */
export interface NamedOption extends Option {
  readonly key: string;
  readonly flag: string;
  readonly envName: string | undefined;
  /** `--no-...` of a boolean that a variable can switch on. */
  readonly negation: string | undefined;
}

/** The rows that a verb accepts, in the order of the table. */
export function optionsOf(verb: Verb): NamedOption[] {
  const rows: [string, Option][] = Object.entries(options);
  return rows.filter(([, row]) => row.verbs.includes(verb)).map(([key, row]) => withNames(key, row));
}

function withNames(key: string, row: Option): NamedOption {
  const words = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const envName =
    row.env === undefined ? `VGG_SERVE_${words.replaceAll('-', '_').toUpperCase()}` : (row.env ?? undefined);
  const negation = row.kind.placeholder === '' && envName !== undefined ? `--no-${words}` : undefined;
  return { ...row, key, flag: row.flag ?? `--${words}`, envName, negation };
}

/**
 * Reads a verb's options: a flag goes before its environment variable, and that before the default. An empty variable
 * counts as none. `--flag value` and `--flag=value` are the same; after `--` all arguments are operands.
 *
 * @param argv the arguments after the verb
 * @throws UsageError
 */
export function parseConfig<V extends Verb>(argv: readonly string[], env: NodeJS.ProcessEnv, verb: V): Config<V> {
  const rows = optionsOf(verb);
  const { given, operands } = readArguments(argv, rows, verb);
  const values = rows.map((row) => [row.key, chosenValue(row, given.get(row.key) ?? [], env, verb)]);
  checkOperands(operands, verb);
  checkPairs(Object.fromEntries(values), rows, verb);
  // The entries are those of the mapped type: each row of the verb gives its key and a value that its kind has parsed.
  return Object.freeze({ ...Object.fromEntries(values), operands: Object.freeze(operands) }) as Config<V>;
}

/** Splits arguments into operands and the texts given to each option, by its key. */
function readArguments(argv: readonly string[], rows: readonly NamedOption[], verb: Verb) {
  const given = new Map<string, string[]>();
  const operands: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at] as string;
    if (argument === '--') {
      operands.push(...argv.slice(at + 1));
      break;
    }
    if (!argument.startsWith('-') || argument === '-') {
      operands.push(argument);
      continue;
    }
    const [flag = '', ...afterEquals] = argument.split('=');
    const row = rows.find((one) => one.flag === flag || one.negation === flag);
    if (row === undefined) throw unknownOption(flag, rows, verb);
    let value = afterEquals.length > 0 ? afterEquals.join('=') : undefined;
    if (row.kind.placeholder === '') {
      if (value !== undefined) throw new UsageError(`${flag} takes no value, but was given "${value}"`);
      value = String(flag === row.flag);
    } else if (value === undefined) {
      value = argv[++at];
      if (value === undefined || value.startsWith('--')) {
        throw new UsageError(`${flag} is not followed by a value: give ${row.kind.allowed}`);
      }
    }
    given.set(row.key, [...(given.get(row.key) ?? []), value]);
  }
  return { given, operands };
}

function chosenValue(row: NamedOption, byFlag: readonly string[], env: NodeJS.ProcessEnv, verb: Verb): unknown {
  const isList = row.repeatable !== undefined;
  const byEnv = (row.envName !== undefined && env[row.envName]) || undefined;
  if (byFlag.length === 0 && byEnv === undefined) {
    if (row.required) throw new UsageError(`${row.flag} is missing: ${verb} needs ${row.flag} ${row.kind.placeholder}`);
    const value = typeof row.default === 'function' ? row.default(env) : row.default;
    return isList ? Object.freeze(value) : value;
  }

  const [source, texts] = byFlag.length > 0 ? [row.flag, byFlag] : [row.envName, splitVariable(byEnv ?? '', isList)];
  if (texts.length > 1 && !row.repeatable?.includes(verb)) {
    throw new UsageError(`${source} has ${texts.length} values (${texts.join(', ')}), but ${verb} takes one`);
  }
  const values = texts.map((text) => {
    const value = row.kind.parse(text);
    if (value === undefined) throw new UsageError(`${source}: "${text}" is not allowed: give ${row.kind.allowed}`);
    return value;
  });
  return isList ? Object.freeze(values) : values[0];
}

function splitVariable(value: string, isList: boolean): string[] {
  return isList ? value.split(',').map((text) => text.trim()) : [value];
}

function checkOperands(operands: readonly string[], verb: Verb): void {
  const { name, min, max } = verbs[verb].operands;
  if (operands.length < min) throw new UsageError(`${verb} needs ${name}: see "vgg-serve ${verb} --help"`);
  if (operands.length > max) {
    const takes = max === 0 ? 'options only' : `one ${name}`;
    throw new UsageError(`${verb} takes ${takes}, but was given "${operands[max]}": see "vgg-serve ${verb} --help"`);
  }
}

function checkPairs(values: Readonly<Record<string, unknown>>, rows: readonly NamedOption[], verb: Verb): void {
  const flagOf = (key: string) => rows.find((row) => row.key === key)?.flag;
  for (const { verb: ofVerb, smaller, larger, because } of orderedPairs) {
    if (ofVerb !== verb || Number(values[smaller]) <= Number(values[larger])) continue;
    throw new UsageError(
      `${flagOf(smaller)} is ${values[smaller]}, more than ${flagOf(larger)}, which is ${values[larger]}: ${because}`,
    );
  }
}

function unknownOption(flag: string, rows: readonly NamedOption[], verb: Verb): UsageError {
  const others = Object.keys(verbs).filter((other) => optionsOf(other as Verb).some((row) => row.flag === flag));
  const known = rows.flatMap((row) => (row.negation === undefined ? row.flag || [] : [row.flag, row.negation]));
  const near = nearest(flag, known);
  const hint =
    others.length > 0
      ? ` (it is one of ${others.join(', ')})`
      : near !== undefined
        ? `: did you mean ${near}?`
        : `: "vgg-serve ${verb} --help" lists them`;
  return new UsageError(`${flag} is not an option of ${verb}${hint}`);
}
