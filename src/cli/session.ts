import type { Config } from '../config.js';
import { startOnDevice } from '../engines/start.js';
import type { Answered, Model } from '../model-registry/model.js';
import { ModelRegistry } from '../model-registry/registry.js';
import { resolveModel } from '../model-registry/resolve.js';
import { createPreprocessor } from '../preprocessing/preprocessor.js';
import { weightsFetcher } from './fetch.js';
import { type PictureFailure, pictureFailure, readPicture } from './picture.js';

/** A model with all that it takes to ask it about a file. */
export interface Session {
  readonly model: Model;
  /** How many pictures must be in progress for the batches to be full: one in the engine, one on its way. */
  readonly concurrency: number;
  classify(file: string): Promise<Outcome>;
}

/** What became of one picture. */
export type Outcome =
  | { readonly file: string; readonly answered: Answered }
  | { readonly file: string; readonly error: PictureFailure };

/**
 * Loads the model that the options name, runs `work` with it, and takes all down again, whatever happens. Weights that
 * are missing are fetched, with the progress on stderr.
 * @param read gives the bytes of a picture. @default from its file
 */
export async function withSession<T>(
  config: Config<'classify' | 'eval'>,
  env: NodeJS.ProcessEnv,
  work: (session: Session) => Promise<T>,
  read = (file: string) => readPicture(file, config.maxPictureBytes),
): Promise<T> {
  const concurrency = 2 * config.maxBatchSize;
  const preprocessor = createPreprocessor({
    threads: config.preprocessThreads,
    limits: { maxBytes: config.maxPictureBytes, maxPixels: config.maxPixels, maxAspect: config.maxAspect },
    exifOrientation: config.exifOrientation,
    maxPending: concurrency,
  });
  const registry = new ModelRegistry({
    startEngine: (spec, { signal }) =>
      startOnDevice(spec, {
        engine: config.engine,
        device: config.device,
        allowTf32: config.allowTf32,
        signal,
        onFallback: (reason) => process.stderr.write(`vgg-serve: ${reason} Until then onnxruntime stands in.\n`),
      }),
    limits: { maxBatchSize: config.maxBatchSize, maxWaitMs: 0, maxQueue: concurrency },
    threads: config.threads,
    prepack: config.prepack,
    precision: config.precision,
    isa: config.isa,
    cacheDir: config.cacheDir,
    fetchWeights: weightsFetcher(config, env),
  });
  try {
    const manifest = await resolveModel(config.model[0] as string);
    registry.add(manifest);
    const model = await registry.load(manifest.name);
    if (manifest.source.kind === 'untrained') {
      process.stderr.write(`vgg-serve: ${manifest.name} is untrained: what it answers means nothing\n`);
    }

    const classify = async (file: string): Promise<Outcome> => {
      try {
        const bytes = await read(file);
        const pixels = await preprocessor.preprocess(bytes, manifest.transforms);
        return { file, answered: await model.classify(pixels, {}) };
      } catch (error) {
        return { file, error: pictureFailure(error) };
      }
    };
    return await work({ model, concurrency, classify });
  } finally {
    await registry.close();
    await preprocessor.close();
  }
}
