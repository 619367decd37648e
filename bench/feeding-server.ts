/** `vgg-serve serve` on an engine that answers in one millisecond: what is left is the service around it. */
import { parseConfig } from '../src/config.js';
import { startEngine } from '../src/engines/process.js';
import { startServer } from '../src/server.js';

const program = new URL('./feeding-engine.js', import.meta.url);
const [, , , ...flags] = process.argv; // Behind the verb.
await startServer(parseConfig([...flags, '--engine', 'onnxruntime'], process.env, 'serve'), (spec, options) =>
  startEngine(spec, { ...options, engine: 'onnxruntime', program }),
);
