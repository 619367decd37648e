import type { TestContext } from 'node:test';
import { startService } from '../routes/service.js';
import { canMeasure, peakAbove, settled, startOfPeak } from './memory.js';

/** What the process is asked; it answers each with one `Answer`. */
export type Question =
  /** Counts time and memory from here on. */
  | 'start'
  | 'measure'
  /** Collects garbage. */
  | 'forget'
  /** Waits until no more memory becomes free. */
  | 'settle'
  | 'end';

export interface Answer {
  readonly url: string;
  /** Resident, in bytes. After `settle` without what was only garbage. */
  readonly resident: number;
  /** Since `start`: bytes above what was resident then, and the processor time of all threads. */
  readonly peakBytes: number;
  readonly cpuMs: number;
}

/**
 * The real app with everything real but the engine, in a process of its own, so that its memory is its own. Its argument:
 * how many threads decode.
 */
async function main(): Promise<void> {
  const ends: (() => unknown)[] = [];
  const context: Pick<TestContext, 'after'> = { after: (end) => void ends.push(end as () => unknown) };
  const { url } = await startService(context, { preprocessThreads: Number(process.argv[2]) });
  let memory = canMeasure ? startOfPeak() : undefined;
  let cpu = process.cpuUsage();
  const answer = async (question: Question): Promise<void> => {
    if (question === 'forget') globalThis.gc?.();
    const resident = question === 'settle' ? await settled() : 0;
    const { user, system } = process.cpuUsage(cpu);
    process.send?.({ url, resident, peakBytes: memory ? peakAbove(memory) : 0, cpuMs: (user + system) / 1000 });
    if (question === 'start') {
      memory = canMeasure ? startOfPeak() : undefined;
      cpu = process.cpuUsage();
    }
  };
  process.on('message', async (question: Question) => {
    if (question !== 'end') return answer(question);
    for (const end of ends) await end();
    process.disconnect();
  });
  await answer('start');
}

await main();
