import { styleText } from 'node:util';
import type { Config } from '../config.js';
import { isAddonBuilt } from '../engines/native/addon.js';
import { probeNative } from '../engines/native/probe.js';
import { gpuHere } from '../engines/tfjs/gpu.js';
import { checkpointsFolder } from '../weights/hub-folder.js';
import type { Check } from './check.js';
import { checkAccess } from './doctor-access.js';
import {
  checkCpus,
  checkEngine,
  checkFolder,
  checkGpu,
  checkImages,
  checkMemory,
  checkNode,
} from './doctor-machine.js';
import { checkEndToEnd, checkModel } from './doctor-models.js';

/** Prints each check as it is done. Answers the exit code: 1 if any is not ok. */
export async function doctor(config: Config<'doctor'>, env: NodeJS.ProcessEnv): Promise<number> {
  const checks: Check[] = [];
  for await (const check of examine(config, env)) {
    checks.push(check);
    if (!config.json) process.stdout.write(asText(check));
  }
  const ok = checks.every((check) => check.ok);
  if (config.json) process.stdout.write(`${JSON.stringify({ ok, checks }, null, 2)}\n`);
  return ok ? 0 : 1;
}

async function* examine(config: Config<'doctor'>, env: NodeJS.ProcessEnv): AsyncGenerator<Check> {
  yield checkNode(process.versions.node);
  yield checkCpus();
  yield checkMemory();
  const native = isAddonBuilt() ? await probeNative().catch((error: Error) => error) : undefined;
  yield await checkEngine(native);
  yield checkGpu(await gpuHere());
  yield await checkImages();
  yield await checkFolder('cache', config.cacheDir, 'set --cache-dir (VGG_SERVE_CACHE_DIR)');
  yield await checkFolder('weights', checkpointsFolder(env), 'set TORCH_HOME');
  yield* await checkAccess(config);
  for (const model of config.model) yield await checkModel(model, native, config, env);
  yield await checkEndToEnd(env);
}

function asText({ name, ok, seen, advice }: Check): string {
  const mark = ok ? 'ok' : 'failed';
  const painted = styleText(ok ? 'green' : 'red', mark, { stream: process.stdout });
  const line = `${painted}${' '.repeat(8 - mark.length)}${name.padEnd(9)}${seen}\n`;
  return advice === undefined ? line : `${line}${' '.repeat(17)}${advice}\n`;
}
