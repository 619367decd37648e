import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TargetName, targets } from './targets.js';

/** A file of the corpus: an input, and in `<its name>.json` what is known of it. */
export interface CorpusEntry {
  /** Of the file. */
  readonly name: string;
  readonly input: Buffer;
  /** The finding that it was once; null for one that was kept for its outcome. */
  readonly found: string | null;
  /** The name of the outcome that it must have; null: any but a finding. */
  readonly expected: string | null;
}

/** Saves an input under its hash. @returns the path */
export function saveInput(
  folder: string,
  target: TargetName,
  input: Buffer,
  known: Pick<CorpusEntry, 'found' | 'expected'>,
): string {
  const hash = createHash('sha256').update(input).digest('hex').slice(0, 12);
  mkdirSync(join(folder, target), { recursive: true });
  const path = join(folder, target, `${hash}.${targets[target].extension}`);
  writeFileSync(path, input);
  writeFileSync(`${path}.expected.json`, `${JSON.stringify(known)}\n`);
  return path;
}

export function readCorpus(folder: string, target: TargetName): CorpusEntry[] {
  const inFolder = join(folder, target);
  let names: string[];
  try {
    names = readdirSync(inFolder).sort();
  } catch {
    return [];
  }
  return names
    .filter((name) => !name.endsWith('.expected.json'))
    .map((name) => {
      const path = join(inFolder, name);
      const known = JSON.parse(readFileSync(`${path}.expected.json`, 'utf8'));
      return { name, input: readFileSync(path), found: known.found, expected: known.expected };
    });
}
