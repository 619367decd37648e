/**
 * A program for server.test.ts: the server with the model of the manifest in its first argument, the options in the others.
 * Tells its parent where it listens and when a batch has begun; "hold" and "release" are the parent's to the engine.
 */
import { parseConfig } from '../src/config.js';
import { startServer } from '../src/server.js';
import { ColourEngine } from './routes/colour-model.js';

const [manifest = '', ...options] = process.argv.slice(2);
const engine = new ColourEngine();
engine.onRun = () => process.send?.('running');
process.on('message', (word) => (word === 'hold' ? engine.hold() : engine.release()));
const config = parseConfig(['--port', '0', '--model', manifest, ...options], {}, 'serve');
const { url } = await startServer(config, () => engine.start());
process.send?.(url);
