import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { posix } from 'node:path';

const cgroupRoot = '/sys/fs/cgroup';

/** The text of a file, or undefined where there is none. */
export type ReadText = (path: string) => string | undefined;

/**
 * The CPUs that this process may keep busy: those it may be scheduled on, and no more than the CPU time that any cgroup
 * above it grants (cpu.max of cgroup v2, cpu.cfs_quota_us of v1: what `docker run --cpus` and a Kubernetes limit set).
 *
 * A quota of 1.5 is 1, as libuv rounds it. Two threads would use it up after 75 of each 100 ms, and for the other 25 the
 * kernel stops every thread of the container: the batch, and the health check too.
 */
export function availableCpus(read: ReadText = readText, schedulable = availableParallelism()): number {
  return Math.max(1, Math.floor(Math.min(schedulable, ...quotas(read))));
}

function quotas(read: ReadText): number[] {
  // A line is `id:controllers:path`; v2 has the id 0 and no controllers.
  return (read('/proc/self/cgroup') ?? '').split('\n').flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    if (controllers === '') return upwards(path).map((folder) => quotaV2(read(`${cgroupRoot}${folder}/cpu.max`)));
    if (!controllers.split(',').includes('cpu')) return [];
    return upwards(path).map((folder) => {
      const file = (name: string) => read(`${cgroupRoot}/${controllers}${folder}/${name}`);
      return quotient(file('cpu.cfs_quota_us'), file('cpu.cfs_period_us'));
    });
  });
}

/**
 * `/a/b`, `/a` and the root as ''. In a container without a cgroup namespace the path is the host's, and only the root
 * of what is mounted exists.
 */
function upwards(path: string): string[] {
  if (path === '/') return [''];
  return [path, ...upwards(posix.dirname(path))];
}

/** `max 100000` or `150000 100000`. */
function quotaV2(text: string | undefined): number {
  const [quota, period] = (text ?? '').trim().split(' ');
  return quotient(quota, period);
}

/** No limit is -1 in v1 and `max` in v2. */
function quotient(quota: string | undefined, period: string | undefined): number {
  const cpus = Number(quota) / Number(period);
  return cpus > 0 ? cpus : Number.POSITIVE_INFINITY;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
