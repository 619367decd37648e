import { writeMessage } from '../../../src/engines/protocol.js';
import { serveFakeEngine } from './fake-engine.js';

serveFakeEngine(({ id }, pipe) => writeMessage(pipe, { type: 'failure', id, message: 'out of memory' }));
