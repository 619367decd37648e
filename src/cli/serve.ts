import { readdir } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import type { Config } from '../config.js';
import { startOnDevice } from '../engines/start.js';
import type { ModelSummary } from '../model-registry/description.js';
import { resolveModel } from '../model-registry/resolve.js';
import { startServer } from '../server.js';
import { loadDisplay } from './load-display.js';

/** Answers over HTTP until a signal ends it. On a terminal it greets once the models are loaded. */
export async function serve(config: Config): Promise<number> {
  const { url, loaded } = await startServer(config, startOnDevice, process.stdout.isTTY ? loadDisplay() : undefined);
  if (process.stdout.isTTY) {
    const models = await loaded;
    const picture = await samplePicture(config.model[0] as string);
    process.stdout.write(greeting(url, models, picture, config.apiKeyFile !== undefined));
  }
  return 0;
}

/**
 * The address, the models, and one command to try; that only when a model can answer it.
 * @param needsKey whether the command must bear one
 */
export function greeting(url: string, models: readonly ModelSummary[], picture: string, needsKey = false): string {
  const rows = models.map((model) => {
    const { name, weights, precision, classes, input_size, state, reason } = model;
    const computed = precision === 'fp32' ? '' : `, ${precision}`;
    const about =
      state === 'ready' ? `${weights}, ${classes} classes, ${input_size} x ${input_size} pixels${computed}` : state;
    return `  ${name}: ${about}${reason === null ? '' : `: ${reason}`}\n`;
  });
  const key = needsKey ? '-H "X-API-Key: KEY" ' : '';
  const command = models[0]?.state === 'ready' ? `\n  curl ${key}-F "image=@${picture}" ${url}/classify\n` : '';
  return `\nvgg-serve answers on ${url}\n${rows.join('')}${command}\n`;
}

/** A picture that lies beside the model's weights, or else a name for one of the user's own. */
async function samplePicture(model: string): Promise<string> {
  const { source } = await resolveModel(model);
  if (source.kind !== 'file') return 'picture.jpg';
  const samplesDir = join(dirname(source.path), 'samples');
  const names = await readdir(samplesDir).catch(() => []);
  const [sample] = names
    .filter((name) => name.endsWith('.png'))
    .map((name) => basename(name, '.png'))
    .sort();
  return sample === undefined ? 'picture.jpg' : relative('', join(samplesDir, `${sample}.png`));
}
