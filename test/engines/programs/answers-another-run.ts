import { writeMessage } from '../../../src/engines/protocol.js';
import { serveFakeEngine } from './fake-engine.js';

serveFakeEngine(({ id, n }, pipe) =>
  writeMessage(pipe, { type: 'result', id: id + 1, computeMs: 1, logits: new Float32Array(n * 3) }),
);
