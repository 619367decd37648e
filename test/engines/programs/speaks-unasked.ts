import { writeMessage } from '../../../src/engines/protocol.js';
import { serveFakeEngine } from './fake-engine.js';

serveFakeEngine(({ id, n }, pipe) => {
  for (const logits of [new Float32Array(n * 3), new Float32Array(n * 3)])
    writeMessage(pipe, { type: 'result', id, computeMs: 1, logits });
});
