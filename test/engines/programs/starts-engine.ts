/** A server in small: `node starts-engine.js SPEC` starts an engine, prints its process id and waits. */
import { startEngine } from '../../../src/engines/process.js';

const engine = await startEngine(JSON.parse(process.argv[2] ?? ''));
console.log(engine.pid);
