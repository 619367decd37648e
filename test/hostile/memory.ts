import { writeFileSync } from 'node:fs';
import { type Memory, memoryOf } from '../../bench/memory.js';

/** Whether the kernel says what a process holds, and lets it forget its peak: Linux alone. */
export const canMeasure = process.platform === 'linux';

/** Of this process; the peak is counted from here on. */
export function startOfPeak(): Memory {
  writeFileSync('/proc/self/clear_refs', '5');
  return memoryOf(process.pid);
}

/** Bytes above what there was at the start. */
export function peakAbove(start: Memory): number {
  return Math.max(0, memoryOf(process.pid).peak - start.rss);
}

const mostRounds = 100;
const quietRounds = 20;

/** What is resident once it has not become less for 2 s, by 1 %. */
export async function settled(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0, quiet = 0; round < mostRounds && quiet < quietRounds; round++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { rss } = memoryOf(process.pid);
    quiet = rss < 0.99 * least ? 0 : quiet + 1;
    if (quiet === 0) least = rss;
  }
  return memoryOf(process.pid).rss;
}
