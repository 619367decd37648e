import { writeMessage } from '../../../src/engines/protocol.js';
import { serveFakeEngine } from './fake-engine.js';

/** The last logit of all is what LOGIT says. */
serveFakeEngine(({ id, n }, pipe) =>
  writeMessage(pipe, {
    type: 'result',
    id,
    computeMs: 1,
    logits: new Float32Array(n * 3).fill(Number(process.env.LOGIT), -1),
  }),
);
