/**
 * A program for tests: the server with the model of the manifest in its first argument, the options in the others. Tells
 * its parent where it listens and when a batch has begun. The parent's words: "hold" and "release" for the engine, "throw"
 * and "reject" for an error that nobody catches, "spawn" for a process that the end of this one must end.
 * With HOLD_START in its environment the engine does not start until "release".
 */
import { spawn } from 'node:child_process';
import { parseConfig } from '../src/config.js';
import { killOnExit } from '../src/engines/kill-on-exit.js';
import { startServer } from '../src/server.js';
import { ColourEngine } from './routes/colour-model.js';

const [manifest = '', ...options] = process.argv.slice(2);
const engine = new ColourEngine();
engine.onRun = () => process.send?.('running');
if (process.env.HOLD_START !== undefined) engine.holdStart();

const does: Readonly<Record<string, () => void>> = {
  hold: () => engine.hold(),
  release: () => engine.release(),
  throw() {
    throw new Error('thrown for a test');
  },
  reject: () => void Promise.reject(new Error('rejected for a test')),
  spawn() {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    killOnExit(child);
    process.send?.(`spawned ${child.pid}`);
  },
};
process.on('message', (word) => does[String(word)]?.());
const config = parseConfig(['--port', '0', '--model', manifest, ...options], process.env, 'serve');
const { url } = await startServer(config, (_spec, { signal }) => engine.start(signal));
process.send?.(url);
