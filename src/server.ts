import closeWithGrace from 'close-with-grace';
import type { Logger } from 'pino';
import { buildApp } from './app.js';
import type { Config } from './config.js';
import type { Engine, EngineSpec } from './engines/engine.js';
import { type EngineProcessOptions, startEngine } from './engines/process.js';
import { ServiceError } from './errors.js';
import { createLogger } from './logging.js';
import { createMetrics } from './metrics.js';
import type { ModelSummary } from './model-registry/description.js';
import { ModelRegistry } from './model-registry/registry.js';
import { resolveModel } from './model-registry/resolve.js';
import { createPreprocessor } from './preprocessing/preprocessor.js';
import { registryMetrics } from './registry-metrics.js';

export interface RunningServer {
  /** Of the address that is listened on: `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Settles when each model is ready or has failed. */
  readonly loaded: Promise<readonly ModelSummary[]>;
  /** Answers what is under way and ends everything, without ending the process. */
  close(): Promise<void>;
}

/** The address that was asked for cannot be listened on. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
}

/** As engines/process.ts does it. */
export type StartEngine = (spec: EngineSpec, options: EngineProcessOptions) => Promise<Engine>;

/**
 * Listens at once and loads the models meanwhile, one after the other; /health/ready tells when they are warm. A model
 * that cannot be loaded leaves the server up and not ready. SIGTERM and SIGINT answer what is under way and end the
 * process with 0; a second signal, or `graceMs`, ends it at once with 1.
 *
 * @throws ListenError; UnknownModelError or ManifestError for a model that there is not
 */
export async function startServer(config: Config, start: StartEngine = startEngine): Promise<RunningServer> {
  const logger = createLogger(config.logLevel);
  const metrics = createMetrics();
  const registry = new ModelRegistry({
    startEngine: (spec) =>
      start(spec, {
        engine: config.engine === 'auto' ? 'onnxruntime' : config.engine,
        log: (line) => logger.info({ line }, 'engine'),
        onRestart(reason) {
          metrics.engineRestarts.inc();
          logger.error({ reason }, 'engine restarted');
        },
      }),
    limits: config,
    threads: config.threads,
    cacheDir: config.cacheDir,
    observer: registryMetrics(metrics),
  });
  for (const manifest of await Promise.all(config.model.map(resolveModel))) registry.add(manifest);
  const preprocessor = createPreprocessor({
    threads: config.preprocessThreads,
    limits: { maxBytes: config.maxPictureBytes, maxPixels: config.maxPixels, maxAspect: config.maxAspect },
    exifOrientation: config.exifOrientation,
    // What the engine and its queue can take: further pictures would be decoded only to be refused there.
    maxPending: config.maxBatchSize + config.maxQueue,
  });
  const app = buildApp({ config, registry, preprocessor, metrics, logger });

  async function close(): Promise<void> {
    await app.close();
    await registry.close();
    await preprocessor.close();
  }

  try {
    await app.listen({ host: config.host, port: config.port });
  } catch (error) {
    await close();
    throw listenError(error as NodeJS.ErrnoException, config);
  }
  const grace = closeWithGrace({ delay: config.graceMs, logger }, async ({ signal, err }) => {
    if (err) logger.fatal({ err }, 'uncaught error, shutting down');
    else logger.info({ signal }, 'shutting down');
    await close();
  });
  return {
    url: app.listeningOrigin,
    loaded: loadModels(registry, logger),
    async close() {
      grace.uninstall();
      await close();
    },
  };
}

async function loadModels(registry: ModelRegistry, logger: Logger): Promise<readonly ModelSummary[]> {
  for (const { name } of registry.list()) {
    try {
      const { info } = await registry.load(name);
      logger.info({ model: name, ...info }, 'model ready');
    } catch (err) {
      if (err instanceof ServiceError && err.code === 'shutting_down') break;
      logger.error({ model: name, err }, 'model not loaded');
    }
  }
  return registry.list();
}

function listenError(error: NodeJS.ErrnoException, { host, port }: Config): ListenError {
  const reason =
    error.code === 'EADDRINUSE'
      ? 'another program listens there. Stop it, or choose another port with --port.'
      : error.message;
  return new ListenError(`cannot listen on ${host}:${port}: ${reason}`, { cause: error });
}
