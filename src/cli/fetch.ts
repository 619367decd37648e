import { join } from 'node:path';
import { type HubOptions, hubWeights } from '../model-registry/hub-weights.js';
import type { FetchWeights } from '../model-registry/locate.js';
import { fileName } from '../weights/catalogue.js';
import { checkpointsFolder } from '../weights/hub-folder.js';
import { readPartialSize } from '../weights/hub-partial.js';
import { progressDisplay } from './progress.js';
import { megabytes } from './units.js';

/**
 * Finds or fetches weights of the catalogue, with the progress on stderr. Ctrl-C stops it, says what is kept, and ends
 * the process.
 */
export function weightsFetcher(options: HubOptions, env: NodeJS.ProcessEnv): FetchWeights {
  return async (entry, { signal, report }) => {
    const file = fileName(entry);
    const display = progressDisplay();
    const interrupt = new AbortController();
    const stop = () => interrupt.abort();
    process.once('SIGINT', stop);
    try {
      return await hubWeights(
        options,
        env,
        display.log,
      )(entry, {
        signal: AbortSignal.any([signal, interrupt.signal]),
        report(progress) {
          const { receivedBytes, totalBytes } = progress;
          if (receivedBytes !== undefined) display.update({ file, receivedBytes, totalBytes });
          report(progress);
        },
      });
    } catch (error) {
      display.end();
      if (interrupt.signal.aborted) {
        display.log(await whatIsKept(file, env));
        // By the signal itself, so that a shell knows and ends its loop too.
        process.kill(process.pid, 'SIGINT');
      }
      throw error;
    } finally {
      display.end();
      process.off('SIGINT', stop);
    }
  };
}

async function whatIsKept(file: string, env: NodeJS.ProcessEnv): Promise<string> {
  const { receivedBytes } = await readPartialSize(join(checkpointsFolder(env), file));
  if (receivedBytes === 0) return 'stopped. Nothing has come yet.';
  const kept = `The ${megabytes(receivedBytes)} MB of ${file} that have come are kept`;
  return `stopped. ${kept}: the same command goes on from there.`;
}
