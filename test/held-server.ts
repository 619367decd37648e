/**
 * A program for server.test.ts: the server with the model of the manifest in its first argument, the options in the others.
 * Tells its parent where it listens and when a batch has begun; "hold" and "release" are the parent's to the engine.
 * With HOLD_START in its environment the engine does not start until then.
 */
import { parseConfig } from '../src/config.js';
import { startServer } from '../src/server.js';
import { ColourEngine } from './routes/colour-model.js';

const [manifest = '', ...options] = process.argv.slice(2);
const engine = new ColourEngine();
engine.onRun = () => process.send?.('running');
if (process.env.HOLD_START !== undefined) engine.holdStart();
process.on('message', (word) => (word === 'hold' ? engine.hold() : engine.release()));
const config = parseConfig(['--port', '0', '--model', manifest, ...options], process.env, 'serve');
const { url } = await startServer(config, (_spec, { signal }) => engine.start(signal));
process.send?.(url);
