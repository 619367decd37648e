import { writeFileSync } from 'node:fs';
import type { WorkerMessage, WorkerTask } from '../../../fuzz/task.js';

/** Uses the processor all the time and comes to the end of many inputs. */
const { currentFile } = JSON.parse(process.argv[2] as string) as WorkerTask;
writeFileSync(currentFile, '');
let beats = 0;

function beat(kind: WorkerMessage['kind']): void {
  const report = { inputs: ++beats, outcomes: {}, kept: 0, peakBytes: 0, findings: [] };
  process.send?.({ kind, report } satisfies WorkerMessage);
}

function work(): void {
  const end = performance.now() + 100;
  while (performance.now() < end);
  beat(beats === 39 ? 'done' : 'beat');
  if (beats < 40) setImmediate(work);
  else process.disconnect();
}

beat('ready');
work();
