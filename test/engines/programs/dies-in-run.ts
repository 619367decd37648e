import { serveFakeEngine } from './fake-engine.js';

serveFakeEngine(() => process.kill(process.pid, 'SIGSEGV'));
