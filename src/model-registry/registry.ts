import type { Precision } from '../engines/engine.js';
import { ServiceError } from '../errors.js';
import { show } from '../network/sizes.js';
import { buildArchitecture, type Network } from './architecture.js';
import {
  describeModel,
  type ModelDescription,
  type ModelStatus,
  type ModelSummary,
  summarizeModel,
  withoutEngine,
  withoutFolder,
} from './description.js';
import { type LoadDeps, loadModel, precisionOf } from './load.js';
import type { Manifest } from './manifest.js';
import type { EngineFailure, Model } from './model.js';
import type { LoadProgress } from './observer.js';
import { splitPrecision } from './spelling.js';

/** One model that is known by name. */
interface Slot {
  readonly manifest: Manifest;
  readonly network: Network;
  readonly precision: Precision;
  status: ModelStatus;
  /** Settles when nothing is left in memory of what the last unload took away. */
  closing: Promise<void>;
  /** Of a model whose engine has given up. */
  retry?: NodeJS.Timeout;
}

/** Two models that are to be served bear one name. */
export class DuplicateModelError extends Error {
  override readonly name = 'DuplicateModelError';
}

/** The models by name, in memory or not. The first one added is the default. */
export class ModelRegistry {
  readonly #deps: LoadDeps;
  readonly #slots = new Map<string, Slot>();
  #closed = false;

  constructor(deps: LoadDeps) {
    this.#deps = deps;
  }

  /** @throws DuplicateModelError */
  add(manifest: Manifest): void {
    const { name } = manifest;
    if (this.#slots.has(name)) {
      throw new DuplicateModelError(
        `two models are called ${name}: leave one out, or give it another name in its manifest`,
      );
    }
    const status = { state: 'unloaded', onRequest: false } as const;
    const slot: Slot = {
      manifest,
      network: buildArchitecture(manifest.network),
      precision: precisionOf(manifest, this.#deps),
      status,
      closing: Promise.resolve(),
    };
    this.#slots.set(name, slot);
    this.#setStatus(slot, status);
  }

  /**
   * Loads a model, unless it is loaded. Calls at the same time share one load. A failed load is forgotten: the next call
   * tries again; its reason stays in the description until then.
   * @throws ServiceError `unknown_model`, `shutting_down`, `model_not_ready` when it was unloaded before it was ready, or
   *   whatever the load fails with
   */
  async load(name: string): Promise<Model> {
    const slot = this.#slot(name);
    if (this.#closed) throw closedError();
    if (slot.status.state === 'ready') return slot.status.model;
    if (slot.status.state === 'loading') return await slot.status.loading;
    const abort = new AbortController();
    const loading = this.#load(slot, abort);
    this.#setStatus(slot, { state: 'loading', loading, abort, progress: { step: 'checking' } });
    return await loading;
  }

  /**
   * Loads the models one after the other, so that only one of them needs the memory of a start at a time. Those that
   * fail keep their reason; those that were unloaded meanwhile are left out.
   */
  async loadAll(): Promise<void> {
    for (const slot of this.#slots.values()) {
      if (this.#closed) return;
      if (slot.status.state === 'unloaded' && slot.status.onRequest) continue;
      await this.load(slot.manifest.name).catch(() => undefined);
    }
  }

  /**
   * Takes a model out of memory: no new pictures from now on, those that wait are answered, then the engine ends. A load
   * that is under way is given up.
   * @throws ServiceError `unknown_model`
   */
  async unload(name: string): Promise<void> {
    const slot = this.#slot(name);
    const detail = `${slot.manifest.name} was unloaded before it was ready.`;
    await this.#unload(slot, new ServiceError('model_not_ready', detail));
  }

  /** Gives up every load that is under way and begins no other one. Models that are ready go on answering. */
  stopLoading(): void {
    this.#closed = true;
    for (const { status } of this.#slots.values()) {
      if (status.state === 'loading') status.abort.abort(closedError());
    }
  }

  /**
   * @param name without one: the default model
   * @throws ServiceError `unknown_model` (lists the names) or `model_not_ready` (says the state, and why)
   */
  get(name?: string): Model {
    const { manifest, status } = this.#slot(name);
    switch (status.state) {
      case 'ready':
        return status.model;
      case 'loading':
        throw notReady(`${manifest.name} is still loading. Try again soon.`);
      case 'failed':
        throw notReady(
          `${manifest.name} ${status.wasServed ? 'has failed' : 'could not be loaded'}: ${withoutFolder(status.reason, manifest)}`,
        );
      case 'unloaded':
        throw notReady(`${manifest.name} is not loaded.`);
      default:
        return status satisfies never;
    }
  }

  /** @throws ServiceError `unknown_model` */
  summary(name: string): ModelSummary {
    return summarizeModel(this.#slot(name));
  }

  /** @throws ServiceError `unknown_model` */
  describe(name: string): ModelDescription {
    return describeModel(this.#slot(name));
  }

  /** Those that are ready. */
  get loaded(): Model[] {
    return [...this.#slots.values()].flatMap(({ status }) => (status.state === 'ready' ? [status.model] : []));
  }

  /** In the order in which they were added. */
  list(): ModelSummary[] {
    return [...this.#slots.values()].map((slot) => summarizeModel(slot));
  }

  /** Whether a model is ready and has an engine, and all are but those that were unloaded on request. */
  get ready(): boolean {
    const statuses = [...this.#slots.values()].map(({ status }) => status);
    const isSettled = (status: ModelStatus) => hasEngine(status) || isUnloadedOnRequest(status);
    return statuses.some(({ state }) => state === 'ready') && statuses.every(isSettled);
  }

  /** Unloads all models, for good. */
  async close(): Promise<void> {
    this.stopLoading();
    await Promise.all([...this.#slots.values()].map((slot) => this.#unload(slot, closedError())));
  }

  #slot(name: string | undefined): Slot {
    const [first] = this.#slots.values();
    const slot = name === undefined ? first : (this.#slots.get(name) ?? this.#slotWithPrecision(name));
    if (slot) return slot;
    const known = [...this.#slots.keys()].join(', ') || 'none';
    const seen = name === undefined ? 'There is no model.' : `There is no model ${show(name)}.`;
    throw new ServiceError('unknown_model', `${seen} The models are: ${known}.`);
  }

  /** A client may insist on a precision: `vgg16@bf16` is also the model called vgg16, if that is computed in bf16. */
  #slotWithPrecision(name: string): Slot | undefined {
    const { model, precision } = splitPrecision(name);
    const slot = this.#slots.get(model);
    return slot?.precision === precision ? slot : undefined;
  }

  /** @param abort of this load; once it has fired, the slot's status belongs to someone else */
  async #load(slot: Slot, abort: AbortController): Promise<Model> {
    const { signal } = abort;
    // The engine of an unload before ends first: two of them may not fit into memory.
    await slot.closing.catch(() => undefined);
    try {
      const report = (progress: LoadProgress) => this.#setProgress(slot, abort, progress);
      const { model, times, agreement } = await loadModel(slot.manifest, this.#deps, { signal, report });
      if (signal.aborted) {
        await model.close();
        throw signal.reason;
      }
      this.#deps.observer?.loaded(model.name, model.info, times, agreement);
      this.#setStatus(slot, { state: 'ready', model });
      model.onFailed((failure) => this.#engineFailed(slot, model, failure));
      return model;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      this.#setStatus(slot, { state: 'failed', reason: (error as Error).message }, error);
      throw error;
    }
  }

  /** The pictures that wait are told why, and nothing of the model stays in memory. */
  #engineFailed(slot: Slot, model: Model, { reason, mayRecover }: EngineFailure): void {
    if (slot.status.state !== 'ready' || slot.status.model !== model) return;
    const { engineRetryMs = 0 } = this.#deps;
    const retryMs = mayRecover ? engineRetryMs : 0;
    const next = retryMs > 0 ? `; it is loaded again ${retryMs / 1000} s after that` : '';
    slot.closing = model.close();
    const status = { state: 'failed', reason: `its engine has given up: ${reason}${next}`, wasServed: true } as const;
    this.#setStatus(slot, status, new Error(status.reason));
    if (retryMs > 0) this.#loadLater(slot, retryMs);
  }

  /** Again and again, until it is ready or somebody does something else with it. */
  #loadLater(slot: Slot, retryMs: number): void {
    const { status } = slot;
    const retry = () => {
      if (slot.status !== status || this.#closed) return;
      this.load(slot.manifest.name).catch(() => {
        if (slot.status.state === 'failed') this.#loadLater(slot, retryMs);
      });
    };
    slot.retry = setTimeout(retry, retryMs).unref();
  }

  /** @param reason what a load that is under way rejects with */
  async #unload(slot: Slot, reason: ServiceError): Promise<void> {
    const { status } = slot;
    clearTimeout(slot.retry);
    if (status.state === 'loading') {
      status.abort.abort(reason);
      slot.closing = status.loading.then(
        () => undefined,
        () => undefined,
      );
    }
    if (status.state === 'ready') slot.closing = status.model.close();
    const unloaded = { state: 'unloaded', onRequest: true } as const;
    if (status.state === 'unloaded') slot.status = unloaded;
    else this.#setStatus(slot, unloaded);
    await slot.closing;
  }

  #setProgress(slot: Slot, abort: AbortController, progress: LoadProgress): void {
    const { status } = slot;
    if (status.state !== 'loading' || status.abort !== abort) return;
    slot.status = { ...status, progress };
    this.#deps.observer?.loadProgress(slot.manifest.name, progress);
  }

  #setStatus(slot: Slot, status: ModelStatus, error?: unknown): void {
    slot.status = status;
    this.#deps.observer?.stateChanged(slot.manifest.name, status.state, error);
  }
}

function hasEngine(status: ModelStatus): boolean {
  return status.state === 'ready' && withoutEngine(status.model) === undefined;
}

function isUnloadedOnRequest(status: ModelStatus): boolean {
  return status.state === 'unloaded' && status.onRequest;
}

function closedError(): ServiceError {
  return new ServiceError('shutting_down', 'The server is shutting down and loads no models.');
}

function notReady(detail: string): ServiceError {
  return new ServiceError('model_not_ready', detail);
}
