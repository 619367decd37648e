import { readdirSync, readFileSync } from 'node:fs';

export type ThreadKind =
  | 'main thread'
  | "V8's helpers"
  | 'libuv pool'
  | 'libvips'
  | 'worker threads'
  | 'other threads'
  | 'ended threads';

/** The kernel tells CPU time in hundredths of a second (USER_HZ, on every Linux). */
const microsecondsPerTick = 10_000;

/**
 * CPU time, user and system, in microseconds, that each kind of thread of a Node process has taken so far; without that
 * of V8's profiler.
 * @param workers ids of the threads that are worker threads
 */
export function threadTimes(pid: number, workers: ReadonlySet<number>): Map<ThreadKind, number> {
  const times = new Map<ThreadKind, number>();
  const ids = readdirSync(`/proc/${pid}/task`).map(Number);
  let rest = readTimes(`/proc/${pid}/stat`)?.us ?? 0;
  for (const [at, id] of ids.sort((a, b) => a - b).entries()) {
    const thread = readTimes(`/proc/${pid}/task/${id}/stat`);
    if (!thread) continue; // It has just ended.
    rest -= thread.us;
    if (thread.name.startsWith('v8:Prof')) continue;
    const kind = workers.has(id) ? 'worker threads' : kindOf(at, thread.name);
    times.set(kind, (times.get(kind) ?? 0) + thread.us);
  }
  return times.set('ended threads', rest);
}

/**
 * Newer versions of Node name their threads; Node 20 names none, but starts them in this order: the scheduler of delayed
 * tasks and four threads of V8, the inspector's, and the four of libuv's pool.
 * @param at place among the threads, by age
 */
function kindOf(at: number, name: string): ThreadKind {
  if (at === 0) return 'main thread';
  if (name.startsWith('libuv')) return 'libuv pool';
  if (name.startsWith('libvips')) return 'libvips';
  if (at <= 6) return "V8's helpers";
  return at <= 10 && name === 'node' ? 'libuv pool' : 'other threads';
}

/** proc(5): the second field is the name in brackets, which may hold anything; utime and stime are the 14th and 15th. */
function readTimes(path: string): { name: string; us: number } | undefined {
  try {
    const stat = readFileSync(path, 'latin1');
    const nameEnd = stat.lastIndexOf(')');
    const fields = stat.slice(nameEnd + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    return { name: stat.slice(stat.indexOf('(') + 1, nameEnd), us: ticks * microsecondsPerTick };
  } catch {
    return undefined;
  }
}
