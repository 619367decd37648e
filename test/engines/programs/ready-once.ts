import { existsSync, rmSync } from 'node:fs';
import { ready, serveFakeEngine } from './fake-engine.js';

/** Is ready when the first file of weights is there, and takes it away: the next process never gets ready. */
serveFakeEngine(
  () => {},
  (start, pipe) => {
    const path = start.spec.tensors[0]?.path ?? '';
    if (!existsSync(path)) return;
    rmSync(path);
    ready(start, pipe);
  },
);
