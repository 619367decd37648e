import { execFile, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** What post.lua prints. */
export interface Load {
  readonly requests: number;
  readonly seconds: number;
  /** Answers that were no success. */
  readonly notOk: number;
  /** Connections, reads and writes that failed, and requests that were never answered. */
  readonly failed: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

/** @throws Error that says how to get it */
export function requireWrk(): void {
  if (spawnSync('wrk', ['--version']).error) throw new Error('wrk is missing. Debian: apt-get install wrk');
}

/** A closed loop: each connection sends the next request when its last one is answered. */
export async function load(
  url: string,
  picture: { readonly path: string; readonly type: string },
  connections: number,
  seconds: number,
): Promise<Load> {
  const script = fileURLToPath(new URL('../../../bench/peers/post.lua', import.meta.url));
  const flags = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '110s', '-s', script, url];
  const env = { ...process.env, BODY: picture.path, TYPE: picture.type };
  const { stdout } = await promisify(execFile)('wrk', flags, { env });
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  if (line === undefined) throw new Error(`wrk has printed no result:\n${stdout}`);
  return JSON.parse(line) as Load;
}
