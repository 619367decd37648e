import { makeKey, nameProblem } from '../access/key-file.js';
import { type Config, UsageError } from '../config.js';

/** Prints a new key and the line for the file of keys. Answers the exit code. */
export function key({ operands, admin, json }: Config<'key'>): number {
  const name = operands[0] as string;
  const problem = nameProblem(name);
  if (problem !== undefined) throw new UsageError(`"${name}" cannot be the name of a key: ${problem}`);
  const made = makeKey(name, admin);
  process.stdout.write(json ? `${JSON.stringify({ name, admin, ...made }, null, 2)}\n` : `${made.key}\n${made.line}\n`);
  return 0;
}
