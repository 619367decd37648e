import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { CheckpointError } from '../../src/weights/checkpoint-error.js';
import { hostileCheckpoints } from './checkpoints.js';
import { canMeasure, peakAbove, startOfPeak } from './memory.js';

/** What became of one file. */
export interface Read {
  readonly kind: string;
  readonly name: string;
  readonly bytes: number;
  /** `read`, the reason of the error, or its stack when it is none of ours. */
  readonly outcome: string;
  readonly isExpected: boolean;
  readonly ms: number;
  /** Processor time of all threads. */
  readonly cpuMs: number;
  /** Bytes above what was resident before it was read; 0 where that cannot be measured. */
  readonly peakBytes: number;
}

/** A process of its own: reads every file, one after another, and sends what became of each. */
async function main(marker: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-hostile-'));
  const path = join(folder, 'checkpoint');
  const read: Read[] = [];
  try {
    for (const { kind, name, make, outcomes } of hostileCheckpoints(marker)) {
      const file = await make();
      writeFileSync(path, file);
      globalThis.gc?.();
      const memory = canMeasure ? startOfPeak() : undefined;
      const [start, cpuStart] = [performance.now(), process.cpuUsage()];
      const outcome = await outcomeOf(path);
      const { user, system } = process.cpuUsage(cpuStart);
      read.push({
        kind,
        name,
        bytes: file.length,
        outcome,
        isExpected: outcomes.some((expected) => expected === outcome),
        ms: performance.now() - start,
        cpuMs: (user + system) / 1000,
        peakBytes: memory ? peakAbove(memory) : 0,
      });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  process.send?.(read);
}

async function outcomeOf(path: string): Promise<string> {
  try {
    await readCheckpoint(path);
    return 'read';
  } catch (error) {
    return error instanceof CheckpointError ? error.reason : String(error instanceof Error ? error.stack : error);
  }
}

await main(process.argv[2] ?? '');
