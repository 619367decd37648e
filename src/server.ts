import { openAccess } from './access/access.js';
import { buildApp } from './app.js';
import { comparison } from './comparison.js';
import type { Config } from './config.js';
import { connectionsWithin, descriptorLimit } from './descriptors.js';
import { refuseMissing } from './engines/choose.js';
import type { Engine, EngineSpec } from './engines/engine.js';
import { isAddonBuilt } from './engines/native/addon.js';
import { type StartOptions, startOnDevice } from './engines/start.js';
import { Lifecycle } from './lifecycle.js';
import { createLogger } from './logging.js';
import { createMetrics } from './metrics.js';
import type { ModelSummary } from './model-registry/description.js';
import { hubWeights } from './model-registry/hub-weights.js';
import type { RegistryObserver } from './model-registry/observer.js';
import { ModelRegistry } from './model-registry/registry.js';
import { resolveModel } from './model-registry/resolve.js';
import { createPreprocessor } from './preprocessing/preprocessor.js';
import { registryLog } from './registry-log.js';
import { registryMetrics } from './registry-metrics.js';
import { onSighup, reloadsOf, tellOfTls } from './reload.js';
import { Drain } from './routes/drain.js';

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

/** Sees the loads of models as they go on. */
export type LoadDisplay = Pick<RegistryObserver, 'stateChanged' | 'loadProgress'>;

/** As engines/start.ts does it. */
export type StartEngine = (spec: EngineSpec, options: StartOptions) => Promise<Engine>;

/**
 * Listens at once and loads the models meanwhile, one after the other; /health/ready tells when they are warm. A model
 * that cannot be loaded leaves the server up and not ready. SIGTERM and SIGINT end the process as lifecycle.ts says.
 *
 * @param display shows how far a fetch is, in place of the log
 * @throws ListenError; UnknownModelError or ManifestError for a model that there is not, DuplicateModelError;
 *   AccessError for keys or a certificate that cannot be used; EngineChoiceError for an engine that is not built; SamplesError for
 *   sample pictures that cannot be had
 */
export async function startServer(
  given: Config,
  start: StartEngine = startOnDevice,
  display?: LoadDisplay,
): Promise<RunningServer> {
  const logger = createLogger(given.logLevel);
  const lifecycle = new Lifecycle(logger);
  try {
    return await listen(given, start, display, logger, lifecycle);
  } catch (error) {
    lifecycle.uninstall();
    throw error;
  }
}

async function listen(
  given: Config,
  start: StartEngine,
  display: LoadDisplay | undefined,
  logger: ReturnType<typeof createLogger>,
  lifecycle: Lifecycle,
): Promise<RunningServer> {
  refuseMissing(given.engine, isAddonBuilt());
  const access = await openAccess(given);
  const config = { ...given, maxConnections: withinLimit(given, logger) };
  const metrics = createMetrics();
  const registry = new ModelRegistry({
    startEngine: (spec, { model, signal }) =>
      start(spec, {
        signal,
        engine: config.engine,
        device: config.device,
        allowTf32: config.allowTf32,
        onChosen: (engine, reason) => logger.info({ model, engine, reason }, 'engine chosen'),
        onFallback: (reason) => logger.warn({ model, reason }, 'native engine not loaded, onnxruntime stands in'),
        log: (line) => logger.info({ model, line }, 'engine'),
        runTimeoutMs: config.engineTimeoutMs,
        maxFailures: config.maxEngineFailures,
        retryMs: config.engineRetryMs || undefined,
        onRestart(reason, kind) {
          metrics.engineRestarts.inc({ model, reason: kind });
          logger.error({ model, reason, kind }, 'engine restarted');
        },
        onLiving: (change) => metrics.engineUp.inc({ model }, change),
      }),
    compare: await comparison(config, start, (model, line) => logger.info({ model, line }, 'engine')),
    limits: config,
    threads: config.threads,
    prepack: config.prepack,
    precision: config.precision,
    isa: config.isa,
    cacheDir: config.cacheDir,
    engineRetryMs: config.engineRetryMs,
    fetchWeights: hubWeights(config, process.env, (line) => logger.info({ line }, 'weights')),
    observer: toAll(registryMetrics(metrics), registryLog(logger), display),
  });
  for (const manifest of await Promise.all(config.model.map(resolveModel))) registry.add(manifest);
  const preprocessor = createPreprocessor({
    threads: config.preprocessThreads,
    limits: { maxBytes: config.maxPictureBytes, maxPixels: config.maxPixels, maxAspect: config.maxAspect },
    exifOrientation: config.exifOrientation,
    // What the engine and its queue can take: further pictures would be decoded only to be refused there.
    maxPending: config.maxBatchSize + config.maxQueue,
  });
  const drain = new Drain();
  const app = buildApp({ config, access, registry, preprocessor, metrics, logger, drain });
  const reloads = reloadsOf(access, app.server, logger);
  // Without anything to read again, the signal ends the server as SIGTERM does: its terminal was closed.
  const stopReloading = reloads.length > 0 ? onSighup(reloads) : () => {};
  if (reloads.length > 0) lifecycle.release('SIGHUP');
  if (access.keyring.guardsAll) logger.info({ keys: access.keyring.size }, 'keys read');
  if (access.tls) tellOfTls(access.tls, logger);

  let waitingFor: 'requests' | 'engines' | 'decoding' = 'requests';
  async function close(): Promise<void> {
    registry.stopLoading(); // A request may wait for a load; the app ends when its requests are answered.
    await drain.stop(config.drainTimeoutMs);
    await app.close();
    waitingFor = 'engines';
    await registry.close();
    waitingFor = 'decoding';
    await preprocessor.close();
    stopReloading(); // Last: until then the signal would end the process.
  }

  try {
    await app.listen({ host: config.host, port: config.port });
  } catch (error) {
    await close();
    throw listenError(error as NodeJS.ErrnoException, config);
  }
  lifecycle.begin({
    timeoutMs: config.drainTimeoutMs,
    leave() {
      drain.leave();
      registry.stopLoading();
      // A balancer that was never told "ready", or is told no more, has nothing to notice.
      return registry.list().some(({ state }) => state === 'ready') ? config.drainDelayMs : 0;
    },
    stop: close,
    unfinished: () => ({ waiting_for: waitingFor, ...drain.unfinished() }),
  });
  return {
    url: app.listeningOrigin,
    loaded: registry.loadAll().then(() => registry.list()),
    async close() {
      lifecycle.uninstall();
      await close();
    },
  };
}

function withinLimit({ maxConnections: asked }: Config, logger: ReturnType<typeof createLogger>): number {
  const limit = descriptorLimit();
  const allowed = connectionsWithin(asked, limit);
  if (allowed < asked) {
    const advice = `the process may open ${limit} files: raise that (ulimit -n), or lower --max-connections`;
    logger.warn({ asked, allowed, open_files: limit }, `fewer connections than asked for: ${advice}`);
  }
  return allowed;
}

function toAll(
  metrics: RegistryObserver,
  log: ReturnType<typeof registryLog>,
  display: LoadDisplay | undefined,
): RegistryObserver {
  return {
    ...metrics,
    stateChanged(...change) {
      metrics.stateChanged(...change);
      display?.stateChanged(...change); // First, so that the line of the log stands below what was shown.
      log.stateChanged(...change);
    },
    loadProgress: (display ?? log).loadProgress,
    loaded(...load) {
      metrics.loaded(...load);
      log.loaded(...load);
    },
  };
}

function listenError(error: NodeJS.ErrnoException, { host, port }: Config): ListenError {
  const reason =
    error.code === 'EADDRINUSE'
      ? 'another program listens there. Stop it, or choose another port with --port.'
      : error.message;
  return new ListenError(`cannot listen on ${host}:${port}: ${reason}`, { cause: error });
}
