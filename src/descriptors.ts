import { readFileSync } from 'node:fs';

/** For what is no connection: files, pipes to the engines, threads, the log. */
const otherDescriptors = 256;

/**
 * How many files the process may open, sockets among them. (Node raises the soft limit to the hard one when it starts.)
 * @returns undefined where Linux's /proc is not there or sets no limit
 */
export function descriptorLimit(limits = '/proc/self/limits'): number | undefined {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync(limits, 'utf8')) ?? [];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

/** As many connections as are asked for, or as the limit on open files has room for: beyond it, other things would fail. */
export function connectionsWithin(asked: number, limit: number | undefined): number {
  if (limit === undefined) return asked;
  return Math.min(asked, Math.max(1, limit - otherDescriptors, Math.floor(limit / 2)));
}
