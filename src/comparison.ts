import type { Config } from './config.js';
import { chooseEngine } from './engines/choose.js';
import type { Engine, EngineSpec } from './engines/engine.js';
import { isAddonBuilt } from './engines/native/addon.js';
import type { StartOptions } from './engines/start.js';
import { referenceSpec } from './model-registry/agreement.js';
import type { CompareDeps } from './model-registry/load.js';
import { checkSampleFolder, readSamples } from './model-registry/samples.js';
import { createPreprocessor } from './preprocessing/preprocessor.js';

type StartEngine = (spec: EngineSpec, options: StartOptions) => Promise<Engine>;

/**
 * How the server compares models of other precisions with fp32; undefined when it is told not to (`--agreement none`).
 * @param log takes a line of an engine's process for a model
 * @throws SamplesError for a folder of pictures that cannot be used
 */
export async function comparison(
  config: Config,
  start: StartEngine,
  log: (model: string, line: string) => void,
): Promise<CompareDeps | undefined> {
  const { agreement: folder, maxPictureBytes: maxBytes, maxPixels, maxAspect, exifOrientation } = config;
  if (folder === 'none') return undefined;
  if (folder !== undefined) await checkSampleFolder(folder);
  return {
    async samples(manifest, signal) {
      // Not the one of the requests, which may be full of those for other models.
      const preprocessor = createPreprocessor({
        threads: 1,
        limits: { maxBytes, maxPixels, maxAspect },
        exifOrientation,
      });
      const { preprocess } = preprocessor;
      return await readSamples(manifest, { folder, maxBytes, preprocess }, signal).finally(() => preprocessor.close());
    },
    async startReference(spec, { model, signal }) {
      chooseEngine(config.engine, isAddonBuilt(), spec); // What cannot be served need not be compared.
      return await start(referenceSpec(spec), {
        engine: 'native',
        device: 'cpu',
        signal,
        log: (line) => log(model, line),
      });
    },
  };
}
