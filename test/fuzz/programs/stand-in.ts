import { writeFileSync } from 'node:fs';
import type { WorkerMessage, WorkerTask } from '../../../fuzz/task.js';

/** What a worker does up to its first input, `abc`. */
export function beginInput(): void {
  const { currentFile } = JSON.parse(process.argv[2] ?? '') as WorkerTask;
  const report = { inputs: 0, outcomes: {}, kept: 0, peakBytes: 0, findings: [] };
  writeFileSync(currentFile, '\x03\0\0\0abc');
  process.send?.({ kind: 'ready', report } satisfies WorkerMessage);
}
