import { appendFileSync, readFileSync } from 'node:fs';
import { writeMessage } from '../../../src/engines/protocol.js';
import { ready, serveFakeEngine } from './fake-engine.js';

/** Counts its starts in STARTS_FILE, and is ready at those of READY_AT (`1,4`) and after the last of them; else it ends with 3. */
const file = process.env.STARTS_FILE ?? '';
appendFileSync(file, '.');
const start = readFileSync(file).length;
const readyAt = (process.env.READY_AT ?? '').split(',').map(Number);
if (!readyAt.includes(start) && start < Math.max(...readyAt)) process.exit(3);

serveFakeEngine(
  ({ id, n }, pipe) => writeMessage(pipe, { type: 'result', id, computeMs: 1, logits: new Float32Array(n * 3) }),
  ready,
);
