/** A server in small: `node starts-engine.js SPEC ENGINE` starts an engine, prints its process id and waits. */
import type { EngineChoice } from '../../../src/engines/choose.js';
import { startEngine } from '../../../src/engines/process.js';

const engine = await startEngine(JSON.parse(process.argv[2] ?? ''), { engine: process.argv[3] as EngineChoice });
console.log(engine.pid);
