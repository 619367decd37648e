import type { Logger } from 'pino';
import type { LoadTimes, RegistryObserver } from './model-registry/observer.js';
import { everyTenth, type OnProgress } from './weights/hub-progress.js';

/** Writes a line for what becomes of a model, and for every tenth of a file that is being fetched. */
export function registryLog(logger: Logger): Pick<RegistryObserver, 'stateChanged' | 'loadProgress' | 'loaded'> {
  /** By the name of each model that was loaded at least once, for its last load. */
  const fetches = new Map<string, OnProgress>();
  const ready = new Set<string>();
  return {
    stateChanged(model, state, err) {
      if (state === 'loading')
        fetches.set(
          model,
          everyTenth((line) => logger.info({ model }, line)),
        );
      if (state === 'failed') logger.error({ model, err }, ready.has(model) ? 'model failed' : 'model not loaded');
      if (state === 'unloaded' && fetches.has(model)) logger.info({ model }, 'model unloaded');
      if (state === 'ready') ready.add(model);
      else ready.delete(model);
    },
    loadProgress(model, { step, receivedBytes, totalBytes }) {
      if (step !== 'fetching' || receivedBytes === undefined) return;
      fetches.get(model)?.({ file: `fetching ${model}`, receivedBytes, totalBytes });
    },
    loaded(model, { engine, version, device, precision, isa, threads }, times, agreement) {
      if (agreement instanceof Error) logger.warn({ model, precision, err: agreement }, 'not compared with fp32');
      else if (agreement) logger.info({ model, precision, agreement }, 'compared with fp32');
      logger.info({ model, engine, version, device, precision, isa, threads, load_ms: inJson(times) }, 'model ready');
    },
  };
}

/** To the tenth of a millisecond. */
function inJson({ locate, index, convert, agreement, engineStart, warmUp, hash, total }: LoadTimes) {
  const rounded = (ms: number) => Math.round(ms * 10) / 10;
  return {
    locate: rounded(locate),
    index: rounded(index),
    convert: rounded(convert),
    agreement: agreement === undefined ? undefined : rounded(agreement),
    engine_start: rounded(engineStart),
    warm_up: warmUp === undefined ? undefined : rounded(warmUp),
    hash: rounded(hash),
    total: rounded(total),
  };
}
