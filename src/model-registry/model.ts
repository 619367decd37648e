import type { OnTheWay } from '../batching/admission.js';
import { type Arrival, Arrivals } from '../batching/arrivals.js';
import { Batcher, type BatchObserver, type SubmitOptions } from '../batching/batcher.js';
import type { BatchLimits } from '../batching/policy.js';
import type { Engine, EngineCondition, EngineInfo } from '../engines/engine.js';
import type { Agreement } from './agreement.js';
import type { Network } from './architecture.js';
import type { Manifest } from './manifest.js';
import type { RegistryObserver } from './observer.js';

/** What the engine says of one picture. */
export interface Answered {
  /** [classes] */
  readonly logits: Float32Array;
  /** From `classify` until the picture went to the engine. */
  readonly queueMs: number;
  /** Inside the engine, for the whole batch that the picture was in. */
  readonly computeMs: number;
  readonly batchSize: number;
}

export type { Arrival };

type EngineOutput = Pick<Answered, 'logits' | 'computeMs'>;

export type EngineFailure = Extract<EngineCondition, { state: 'failed' }>;

/** A network that is loaded: pictures of any requests go in, and reach its engine in batches. */
export class Model {
  readonly manifest: Manifest;
  readonly network: Network;
  /** Of the file with the weights, as it was when it was loaded. */
  readonly sha256: string;
  /** With fp32, where it is computed in another precision and both were compared. */
  readonly agreement: Agreement | undefined;
  readonly #engine: Engine;
  readonly #observer: RegistryObserver | undefined;
  readonly #batcher: Batcher<Uint8Array, EngineOutput>;
  readonly #arrivals = new Arrivals();
  /** [maxBatchSize, crop, crop, 3] each: batches are laid out here. One for each lane of the engine; those not in use. */
  readonly #batchPixels: Uint8Array[];
  #condition: EngineCondition = { state: 'up' };

  constructor(
    loaded: {
      manifest: Manifest;
      network: Network;
      sha256: string;
      engine: Engine;
      agreement?: Agreement | undefined;
    },
    limits: BatchLimits,
    observer?: RegistryObserver,
  ) {
    const { name, transforms } = loaded.manifest;
    this.manifest = loaded.manifest;
    this.network = loaded.network;
    this.sha256 = loaded.sha256;
    this.agreement = loaded.agreement;
    this.#engine = loaded.engine;
    this.#observer = observer;
    const { lanes = 1 } = loaded.engine;
    const batchBytes = limits.maxBatchSize * transforms.crop ** 2 * 3;
    this.#batchPixels = Array.from({ length: lanes }, () => new Uint8Array(batchBytes));
    const watching: BatchObserver = {
      queueDepth: (pictures) => observer?.queueDepth(name, pictures),
      queueWait: (waitMs) => observer?.queueWait(name, waitMs),
    };
    this.#batcher = new Batcher((pictures) => this.#run(pictures), limits, watching, lanes);
    loaded.engine.watch?.((condition) => {
      this.#condition = condition;
      if (condition.state === 'down') this.#batcher.pause();
      else this.#batcher.resume(); // Of an engine that has failed the pictures that wait are told why.
    });
  }

  get name(): string {
    return this.manifest.name;
  }

  get info(): EngineInfo {
    return this.#engine.info;
  }

  /** Until one more picture that came now would be answered, in milliseconds; 0 while no run was seen. */
  predictMs(): number {
    return this.#batcher.predictMs(1, this.#onTheWay(1, this.#arrivals.uploading));
  }

  /**
   * Lets a request in before its body is read. Its pictures count as waiting from now on, until each has come to `classify`
   * or the request is at its end: the caller says so.
   * @param deadlineAt on the clock of `performance.now()`
   * @throws ServiceError `queue_full`, or `overloaded` if even one picture would come too late; `expect` throws them too
   */
  admit(deadlineAt: number): Arrival {
    const refusal = this.#batcher.refusal(1, deadlineAt, this.#onTheWay(1, this.#arrivals.uploading));
    if (refusal) throw refusal;
    const arrival = this.#arrivals.begin();
    return {
      ...arrival,
      expect: (pictures) => {
        // Those that are still uploaded come behind these.
        const refusal = this.#batcher.refusal(pictures, deadlineAt, this.#onTheWay(pictures, 0));
        if (refusal) throw refusal;
        arrival.expect(pictures);
      },
    };
  }

  /** Of its engine. While that is `down`, pictures wait. */
  get condition(): EngineCondition {
    return this.#condition;
  }

  /** Calls once, at once or later, if the engine gives up. */
  onFailed(listener: (failure: EngineFailure) => void): void {
    this.#engine.watch?.((condition) => {
      if (condition.state === 'failed') listener(condition);
    });
  }

  /**
   * @param pixels [crop, crop, 3] RGB; must not change until the answer is there
   * @throws ServiceError `queue_full`, `overloaded`, `client_closed_request`, `deadline_exceeded`, `shutting_down`,
   *   `engine_failed` or `model_not_ready`; RangeError for a picture of another size
   */
  async classify(pixels: Uint8Array, options: SubmitOptions = {}): Promise<Answered> {
    const { crop } = this.manifest.transforms;
    if (pixels.length !== crop ** 2 * 3) {
      throw new RangeError(`${this.name} takes ${crop} x ${crop} x 3 bytes of pixels, not ${pixels.length}.`);
    }
    const { output, queueMs, batchSize } = await this.#batcher.submit(pixels, options);
    return { ...output, queueMs, batchSize };
  }

  /** Refuses new pictures, answers those that wait, and ends the engine. */
  async close(): Promise<void> {
    await this.#batcher.close();
    await this.#engine.close();
  }

  #onTheWay(own: number, uploading: number): OnTheWay {
    const entries = this.#arrivals.inWork + uploading;
    return { entries, readyInMs: this.#arrivals.readyInMs(entries + own) };
  }

  async #run(pictures: readonly Uint8Array[]): Promise<EngineOutput[]> {
    const size = pictures.length;
    const laidOut = this.#batchPixels.pop() as Uint8Array;
    let byteOffset = 0;
    for (const pixels of pictures) {
      laidOut.set(pixels, byteOffset);
      byteOffset += pixels.length;
    }
    const running = this.#engine.run(laidOut.subarray(0, byteOffset), size);
    const { logits, computeMs } = await running.finally(() => this.#batchPixels.push(laidOut));
    this.#observer?.batch(this.name, { size, computeMs });
    const { classes } = this.network;
    // Copies, so that one answer does not keep the whole batch in memory.
    return pictures.map((_, i) => ({ logits: logits.slice(i * classes, (i + 1) * classes), computeMs }));
  }
}
