import { readFileSync } from 'node:fs';
import { memoryOf } from '../bench/memory.js';

/** USER_HZ, which the kernel shows times in: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** CPU time of all threads of a process; 0 where the kernel does not show it, or no such process is there any more. */
export function cpuSeconds(pid: number | undefined): number {
  try {
    // The name, in parentheses, may hold spaces; utime and stime are the 14th and 15th field.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  } catch {
    return 0;
  }
}

/** The largest resident memory so far; 0 where the kernel does not show it. */
export function peakBytes(pid: number | undefined): number {
  try {
    return memoryOf(pid ?? 0).peak;
  } catch {
    return 0;
  }
}
