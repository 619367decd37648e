import { setMaxListeners } from 'node:events';
import { EngineLostError, ServiceError } from '../errors.js';
import { Admission, type Line, nothingOnTheWay, type OnTheWay } from './admission.js';
import { type Linked, LinkedQueue } from './linked-queue.js';
import { type BatchLimits, type LeaveReason, nextBatch, reasonToLeave, type Waiting } from './policy.js';

/** Called synchronously; must not throw. Who wants to see the batches sees them in `run`. */
export interface BatchObserver {
  queueDepth(entries: number): void;
  /** Once for each entry that goes to the engine. */
  queueWait(waitMs: number): void;
}

export interface SubmitOptions {
  readonly signal?: AbortSignal | undefined;
  /** On the clock of `performance.now()`. */
  readonly deadlineAt?: number | undefined;
  /** Called synchronously when the entry goes to the engine, before the run begins; must not throw. */
  readonly onRun?: (() => void) | undefined;
}

export interface Answer<Out> {
  readonly output: Out;
  /** From `submit` until the entry first went to the engine. */
  readonly queueMs: number;
  /** Of the run that gave the answer. */
  readonly batchSize: number;
  readonly runMs: number;
}

interface Entry<In, Out> extends Waiting, Linked<Entry<In, Out>> {
  readonly input: In;
  /** These two do nothing to an entry that has been answered. */
  readonly resolve: (answer: Answer<Out>) => void;
  readonly reject: (error: unknown) => void;
  readonly onAbort: () => void;
  readonly onRun: (() => void) | undefined;
  deadlineTimer: NodeJS.Timeout | undefined;
  state: 'queued' | 'running' | 'answered';
  queueMs: number;
  /** For engines that were lost while they had it: above 0 it is a suspect. */
  blame: number;
}

/**
 * An entry is given up when it bears the blame for three lost engines: with others, and twice alone. Whoever kills engines
 * from without (an operator, the kernel that needs memory) may do so ten times.
 */
const mostBlame = 30;
const blameOfLoss = 10;
const blameOfKill = 3;

/** setTimeout takes a longer delay for 1 ms. An entry of this age (24 days) has no one left who waits for it. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Gathers entries into batches for an engine that does one run at a time, or one in each of its lanes. An idle lane
 * starts at once with what is there; while all are busy the queue fills, and the next batch takes what has come. Entries
 * go in their order.
 *
 * If `run` fails for a batch, its halves are tried again, until only the entries that fail alone are rejected, each with
 * its own error. If the engine is lost with a batch (EngineLostError), one of its entries may be the reason, or none: each
 * goes alone from then on, before all others, and is rejected when the engine is lost with it once more than may be chance.
 * Another ServiceError than `engine_failed` says nothing of the entries: all of the batch are rejected with it.
 */
export class Batcher<In, Out> {
  readonly #run: (inputs: In[]) => Promise<Out[]>;
  readonly #limits: BatchLimits;
  readonly #observer: BatchObserver | undefined;
  readonly #queue = new LinkedQueue<Entry<In, Out>>();
  /** Those with which an engine was lost: they wait again, and go alone. */
  readonly #suspects = new LinkedQueue<Entry<In, Out>>();
  readonly #lanes: number;
  #lanesAtWork = 0;
  /** One for each lane at work: until the queue is empty or waits for its batch to fill. */
  readonly #working = new Set<Promise<void>>();
  /** A lane has been set to work, and has not taken its batch yet. */
  #isStarting = false;
  #waitTimer: NodeJS.Timeout | undefined;
  #closed = false;
  readonly #admission: Admission;
  #isPaused = false;
  /** Of a close() that waits for entries which no lane has. */
  #whenMoved: (() => void) | undefined;

  /** @param run one output for each input, in the same order; at most `lanes` are under way at a time */
  constructor(run: (inputs: In[]) => Promise<Out[]>, limits: BatchLimits, observer?: BatchObserver, lanes = 1) {
    this.#run = run;
    this.#limits = limits;
    this.#observer = observer;
    this.#lanes = lanes;
    this.#admission = new Admission(limits, lanes);
  }

  /** Entries that wait; those that the engine has are not counted. */
  get depth(): number {
    return this.#queue.length + this.#suspects.length;
  }

  /** While there is no engine: entries wait in the queue, and may leave it. What `run` has is not touched. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#work();
    this.#moved();
  }

  /**
   * Until the last of `own` entries that came now would be answered, in milliseconds; 0 while nothing is known of the
   * engine's speed.
   */
  predictMs(own: number, onTheWay: OnTheWay = nothingOnTheWay): number {
    return this.#admission.predictMs(this.#line, own, onTheWay);
  }

  /** Whether `own` entries that come now are to be refused, as admission.ts has it. */
  refusal(own: number, deadlineAt: number, onTheWay: OnTheWay = nothingOnTheWay): ServiceError | undefined {
    return this.#admission.refusal(this.#line, own, deadlineAt, onTheWay);
  }

  /**
   * An aborted or late entry is rejected at once, wherever it is; one that still waits never reaches the engine.
   * @throws ServiceError `queue_full`, `overloaded` (both with retryAfterSeconds), `client_closed_request`, `deadline_exceeded`,
   *   `shutting_down`, or what `run` rejects with
   */
  submit(input: In, { signal, deadlineAt, onRun }: SubmitOptions = {}): Promise<Answer<Out>> {
    return new Promise((resolve, reject) => {
      const entry: Entry<In, Out> = {
        input,
        resolve,
        reject,
        signal,
        queuedAt: performance.now(),
        deadlineAt,
        onAbort: () => this.#giveUp(entry, 'aborted'),
        onRun,
        deadlineTimer: undefined,
        state: 'queued',
        queueMs: 0,
        blame: 0,
        previous: undefined,
        next: undefined,
      };
      const refusal = this.#refusal(entry);
      if (refusal) {
        reject(refusal);
        return;
      }
      this.#queue.push(entry);
      this.#observer?.queueDepth(this.depth);
      this.#watch(entry);
      this.#work();
    });
  }

  /** New entries are refused from now on; resolves when those that are here have been answered. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#work();
    while (this.#working.size > 0 || this.depth > 0) {
      if (this.#working.size > 0) await Promise.all(this.#working);
      else await new Promise<void>((resolve) => (this.#whenMoved = resolve));
    }
  }

  #moved(): void {
    this.#whenMoved?.();
    this.#whenMoved = undefined;
  }

  #refusal(entry: Entry<In, Out>): ServiceError | undefined {
    if (this.#closed) {
      return new ServiceError('shutting_down', 'The model is being closed and takes no new work.');
    }
    const reason = reasonToLeave(entry, entry.queuedAt);
    if (reason) return leaveError(entry, reason);
    return this.#admission.refusalAtQueue(this.#line, entry.deadlineAt);
  }

  get #line(): Line {
    const [first] = this.#queue;
    return { entries: this.depth, firstQueuedAt: first?.queuedAt };
  }

  #watch(entry: Entry<In, Out>): void {
    if (entry.signal) {
      setMaxListeners(0, entry.signal); // One request may submit more pictures than the 10 at which Node suspects a leak.
      entry.signal.addEventListener('abort', entry.onAbort);
    }
    if (entry.deadlineAt !== undefined) {
      const delayMs = Math.min(Math.ceil(entry.deadlineAt - entry.queuedAt), longestTimerMs);
      entry.deadlineTimer = setTimeout(() => this.#giveUp(entry, 'late'), delayMs).unref();
    }
  }

  #giveUp(entry: Entry<In, Out>, reason: LeaveReason): void {
    const error = leaveError(entry, reason);
    if (entry.state === 'queued') {
      (entry.blame > 0 ? this.#suspects : this.#queue).remove(entry);
      this.#observer?.queueDepth(this.depth);
      if (this.depth === 0) this.#moved();
    }
    this.#markAnswered(entry);
    entry.reject(error);
  }

  #markAnswered(entry: Entry<In, Out>): void {
    entry.state = 'answered';
    entry.signal?.removeEventListener('abort', entry.onAbort);
    clearTimeout(entry.deadlineTimer);
  }

  #work(): void {
    if (this.#isPaused || this.#isStarting || this.#lanesAtWork === this.#lanes) return;
    this.#isStarting = true;
    this.#lanesAtWork++;
    const lane = this.#runBatches();
    this.#working.add(lane);
    void lane.then(() => this.#working.delete(lane));
  }

  async #runBatches(): Promise<void> {
    await undefined; // What is submitted in one turn of the event loop goes together.
    this.#isStarting = false;
    for (let batch = this.#takeBatch(); batch.length > 0; batch = this.#takeBatch()) {
      if (this.depth > 0) this.#work(); // More than one lane can take.
      const end = this.#admission.begin(batch.length);
      await this.#answer(batch);
      end();
    }
    this.#lanesAtWork--;
  }

  /** Empty: there is nothing to do for a lane now. */
  #takeBatch(): Entry<In, Out>[] {
    clearTimeout(this.#waitTimer);
    if (this.#isPaused) return [];
    const suspect = this.#takeSuspect();
    if (suspect) return [suspect];
    const now = performance.now();
    const policy = this.#closed ? { ...this.#limits, maxWaitMs: 0 } : this.#limits;
    const { leaving, batch, waitMs } = nextBatch(this.#queue, now, policy);
    for (const { entry, reason } of leaving) this.#giveUp(entry, reason);
    for (const entry of batch) {
      this.#queue.remove(entry);
      entry.state = 'running';
      entry.queueMs = now - entry.queuedAt;
      this.#observer?.queueWait(entry.queueMs);
      entry.onRun?.();
    }
    if (batch.length > 0) this.#observer?.queueDepth(this.depth);
    if (waitMs > 0) this.#waitTimer = setTimeout(() => this.#work(), Math.ceil(waitMs)).unref();
    return batch;
  }

  #takeSuspect(): Entry<In, Out> | undefined {
    for (let entry = this.#suspects.first; entry; entry = this.#suspects.first) {
      const reason = reasonToLeave(entry, performance.now());
      if (reason) {
        this.#giveUp(entry, reason);
        continue;
      }
      this.#suspects.remove(entry);
      entry.state = 'running';
      this.#observer?.queueDepth(this.depth);
      return entry;
    }
    return undefined;
  }

  async #answer(batch: readonly Entry<In, Out>[]): Promise<void> {
    const startedAt = performance.now();
    let outputs: Out[];
    try {
      outputs = await this.#run(batch.map(({ input }) => input));
      if (outputs.length !== batch.length) {
        throw new Error(`The engine gave ${outputs.length} outputs for a batch of ${batch.length}.`);
      }
    } catch (error) {
      await this.#splitOrReject(batch, error);
      return;
    }
    const endedAt = performance.now();
    const runMs = endedAt - startedAt;
    this.#admission.learn(batch.length, runMs, endedAt);
    for (const [index, output] of outputs.entries()) {
      const entry = batch[index] as Entry<In, Out>;
      this.#markAnswered(entry);
      entry.resolve({ output, queueMs: entry.queueMs, batchSize: batch.length, runMs });
    }
  }

  async #splitOrReject(batch: readonly Entry<In, Out>[], error: unknown): Promise<void> {
    if (error instanceof EngineLostError) {
      this.#suspect(batch, error);
      return;
    }
    const saysNothing = error instanceof ServiceError && error.code !== 'engine_failed';
    if (batch.length === 1 || saysNothing) {
      for (const entry of batch) this.#reject(entry, error);
      return;
    }
    const half = Math.ceil(batch.length / 2);
    for (const part of [batch.slice(0, half), batch.slice(half)]) {
      const unanswered = part.filter(({ state }) => state === 'running');
      if (unanswered.length > 0) await this.#answer(unanswered);
    }
  }

  /**
   * They wait again, behind those that do so already: an entry that is the reason is then not twice in a row the first,
   * and the others are answered before it does harm again.
   */
  #suspect(batch: readonly Entry<In, Out>[], error: EngineLostError): void {
    for (const entry of batch) {
      if (entry.state !== 'running') continue;
      entry.blame += error.wasKilled ? blameOfKill : blameOfLoss;
      if (entry.blame >= mostBlame) {
        const detail = 'The engine was lost again and again with this picture in it, and at last with it alone.';
        this.#reject(entry, new ServiceError('engine_failed', detail, { cause: error.cause }));
        continue;
      }
      entry.state = 'queued';
      this.#suspects.push(entry);
    }
    this.#observer?.queueDepth(this.depth);
  }

  /** Does nothing to an entry that has left. */
  #reject(entry: Entry<In, Out>, error: unknown): void {
    if (entry.state !== 'running') return;
    this.#markAnswered(entry);
    entry.reject(error);
  }
}

function leaveError({ queuedAt, state }: Entry<unknown, never>, reason: LeaveReason): ServiceError {
  switch (reason) {
    case 'aborted':
      return new ServiceError('client_closed_request', 'The request was closed before its answer was there.');
    case 'late': {
      const waitedMs = Math.round(performance.now() - queuedAt);
      const place = state === 'running' ? 'the engine was still at work' : 'it still waited for the engine';
      return new ServiceError('deadline_exceeded', `No answer within the time allowed: after ${waitedMs} ms ${place}.`);
    }
    default:
      return reason satisfies never;
  }
}
