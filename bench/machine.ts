import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { availableCpus } from '../src/cpus.js';

const require = createRequire(import.meta.url);

/** The first lines of every bench: what was measured where. */
export function machineLines(packages: readonly string[]): string {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(readIfThere('/proc/cpuinfo'))?.[1]?.split(' '));
  const features = ['avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_bf16'].filter((flag) => flags.has(flag));
  const versions = packages.map((name) => `${name} ${packageVersion(name)}`);
  return [
    `machine: ${availableCpus()} CPUs, ${cpus()[0]?.model.trim() ?? 'unknown'}, ${features.join(' ') || process.arch}`,
    `versions: node ${process.version}, ${versions.join(', ')}`,
  ].join('\n');
}

export interface Summary {
  readonly n: number;
  readonly min: number;
  readonly median: number;
  readonly p95: number;
}

/** Nearest-rank percentiles of a list of at least one number. */
export function summarise(values: readonly number[]): Summary {
  const [min = Number.NaN, median = Number.NaN, p95 = Number.NaN] = percentiles(values, [0, 0.5, 0.95]);
  return { n: values.length, min, median, p95 };
}

/** By nearest rank; NaN of an empty list. */
export function percentiles(values: readonly number[], shares: readonly number[]): number[] {
  const sorted = [...values].sort((a, b) => a - b);
  return shares.map((share) => sorted[Math.max(Math.ceil(share * sorted.length) - 1, 0)] ?? Number.NaN);
}

function packageVersion(name: string): string {
  const folder = require.resolve.paths(name)?.find((path) => readIfThere(`${path}/${name}/package.json`) !== '');
  return (JSON.parse(readIfThere(`${folder}/${name}/package.json`)) as { version: string }).version;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
