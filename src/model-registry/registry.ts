import { ServiceError } from '../errors.js';
import { buildNetwork, type Network } from '../vgg/network.js';
import { show } from '../vgg/sizes.js';
import {
  describeModel,
  type ModelDescription,
  type ModelStatus,
  type ModelSummary,
  summarizeModel,
  withoutFolder,
} from './description.js';
import { type LoadDeps, loadModel } from './load.js';
import type { Manifest } from './manifest.js';
import type { Model } from './model.js';

/** One model that is known by name. */
interface Slot {
  readonly manifest: Manifest;
  readonly network: Network;
  status: ModelStatus;
  /** Settles when the engine of the last unload has ended. */
  closing: Promise<void>;
}

/** The models by name, in memory or not. The first one added is the default. */
export class ModelRegistry {
  readonly #deps: LoadDeps;
  readonly #slots = new Map<string, Slot>();
  #closed = false;

  constructor(deps: LoadDeps) {
    this.#deps = deps;
  }

  /** @throws Error when there is a model of this name */
  add(manifest: Manifest): void {
    const { name } = manifest;
    if (this.#slots.has(name)) throw new Error(`There are two models called ${name}: give one another name.`);
    const status = { state: 'unloaded' } as const;
    const slot: Slot = { manifest, network: buildNetwork(manifest.network), status, closing: Promise.resolve() };
    this.#slots.set(name, slot);
    this.#setStatus(slot, status);
  }

  /**
   * Loads a model, unless it is loaded. Calls at the same time share one load. A failed load is forgotten: the next call
   * tries again; its reason stays in the description until then.
   * @throws ServiceError `unknown_model`, `shutting_down`, or whatever the load fails with
   */
  async load(name: string): Promise<Model> {
    const slot = this.#slot(name);
    if (this.#closed) throw new ServiceError('shutting_down', 'The server is shutting down and loads no models.');
    if (slot.status.state === 'ready') return slot.status.model;
    if (slot.status.state === 'loading') return await slot.status.loading;
    const loading = this.#load(slot);
    this.#setStatus(slot, { state: 'loading', loading });
    return await loading;
  }

  /**
   * Takes a model out of memory: no new pictures from now on, those that wait are answered, then the engine ends. A load
   * that is under way is finished first.
   * @throws ServiceError `unknown_model`
   */
  async unload(name: string): Promise<void> {
    const slot = this.#slot(name);
    if (slot.status.state === 'loading') await slot.status.loading.catch(() => undefined);
    if (slot.status.state === 'ready') slot.closing = slot.status.model.close();
    if (slot.status.state !== 'unloaded') this.#setStatus(slot, { state: 'unloaded' });
    await slot.closing;
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
        throw notReady(`${manifest.name} could not be loaded: ${withoutFolder(status.reason, manifest)}`);
      case 'unloaded':
        throw notReady(`${manifest.name} is not loaded.`);
      default:
        return status satisfies never;
    }
  }

  /** @throws ServiceError `unknown_model` */
  describe(name: string): ModelDescription {
    return describeModel(this.#slot(name));
  }

  /** In the order in which they were added. */
  list(): ModelSummary[] {
    return [...this.#slots.values()].map(summarizeModel);
  }

  /** Whether there are models, and all of them are ready. */
  get ready(): boolean {
    return this.#slots.size > 0 && [...this.#slots.values()].every(({ status }) => status.state === 'ready');
  }

  /** Unloads all models, for good. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#slots.keys()].map((name) => this.unload(name)));
  }

  #slot(name: string | undefined): Slot {
    const [first] = this.#slots.values();
    const slot = name === undefined ? first : this.#slots.get(name);
    if (slot) return slot;
    const known = [...this.#slots.keys()].join(', ') || 'none';
    const seen = name === undefined ? 'There is no model.' : `There is no model ${show(name)}.`;
    throw new ServiceError('unknown_model', `${seen} The models are: ${known}.`);
  }

  async #load(slot: Slot): Promise<Model> {
    // The engine of an unload before ends first: two of them may not fit into memory.
    await slot.closing.catch(() => undefined);
    try {
      const model = await loadModel(slot.manifest, this.#deps);
      this.#setStatus(slot, { state: 'ready', model });
      return model;
    } catch (error) {
      this.#setStatus(slot, { state: 'failed', reason: (error as Error).message });
      throw error;
    }
  }

  #setStatus(slot: Slot, status: ModelStatus): void {
    slot.status = status;
    const reason = status.state === 'failed' ? status.reason : undefined;
    this.#deps.observer?.stateChanged(slot.manifest.name, status.state, reason);
  }
}

function notReady(detail: string): ServiceError {
  return new ServiceError('model_not_ready', detail);
}
