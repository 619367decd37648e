/**
 * The tests of the engine of TensorFlow.js, on the real library: `npm run test:tfjs`. The first time it fetches 200 MB
 * (install.ts); where a machine cannot have it, it says why and ends well.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { installTensorFlow } from './install.js';

const installed = installTensorFlow();
if ('missing' in installed) {
  console.log(`tfjs: skipped, for ${installed.missing}`);
} else {
  const tests = readdirSync(import.meta.dirname).filter((file) => file.endsWith('.tfjs.js'));
  // One after the other: each keeps all CPUs busy.
  const args = ['--test', '--test-concurrency=1', ...tests.map((file) => join(import.meta.dirname, file))];
  const { status } = spawnSync(process.execPath, args, {
    stdio: 'inherit',
    env: { ...process.env, NODE_PATH: installed.modules },
  });
  process.exitCode = status ?? 1;
}
