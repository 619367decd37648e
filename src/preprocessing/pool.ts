import { setMaxListeners } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, ServiceError } from '../errors.js';
import { clientClosed, shuttingDown } from './refusals.js';

/** What a worker answers to a job. */
export type WorkerReply =
  | { readonly output: Uint8Array<ArrayBuffer>; readonly refusal?: never }
  | { readonly output?: never; readonly refusal: { readonly code: ErrorCode; readonly detail: string } };

interface Task<Job> {
  readonly job: Job;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (output: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
  /** How many threads have died over it. */
  deaths: number;
}

/** How much memory may be in use at a time. */
export interface Budget<Job> {
  readonly mostBytes: number;
  readonly bytesOf: (job: Job) => number;
}

/** A job that takes its thread down is tried once more: it may have been the thread's fault, but not twice. */
const mostDeaths = 2;

/**
 * Runs jobs in worker threads, one at a time in each, first come first served. A thread starts when a job finds no idle
 * one, and is replaced when it dies. Idle threads do not keep the process alive. A job waits while those in progress leave
 * too little of the budget to it, and those behind it wait too: small ones could keep a large one out for ever.
 *
 * A job's `bytes` are copied on their way into the thread, so that they are still here if it dies. The output is moved.
 */
export class WorkerPool<Job extends { readonly bytes: Uint8Array }> {
  readonly #script: URL;
  readonly #threads: number;
  readonly #budget: Budget<Job>;
  readonly #queue: Task<Job>[] = [];
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Task<Job>>();
  #bytesInUse = 0;
  #closed: Promise<void> | undefined;
  #whenIdle: (() => void) | undefined;

  /**
   * @param script answers each message, a job, with one `WorkerReply`
   * @param budget a job that is larger runs alone
   */
  constructor(script: URL, threads: number, budget: Budget<Job> = { mostBytes: Infinity, bytesOf: () => 0 }) {
    this.#script = script;
    this.#threads = threads;
    this.#budget = budget;
  }

  /**
   * An aborted job is rejected at once; one that still waits never reaches a thread.
   * @throws ServiceError of the worker's refusal, `client_closed_request`, `shutting_down`, or `internal` when the job
   *   ends its thread twice
   */
  async run(job: Job, signal?: AbortSignal): Promise<Uint8Array> {
    if (this.#closed) throw shuttingDown();
    if (signal?.aborted) throw clientClosed();
    if (signal) setMaxListeners(0, signal); // One request may bring more pictures than the 10 at which Node suspects a leak.
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise((resolve, reject) => {
        const task: Task<Job> = { job, signal, resolve, reject, deaths: 0 };
        onAbort = () => this.#giveUp(task);
        signal?.addEventListener('abort', onAbort);
        this.#queue.push(task);
        this.#dispatch();
      });
    } finally {
      if (onAbort) signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Rejects the jobs that wait, lets those that run come to their end, then ends the threads. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    for (const { reject } of this.#queue.splice(0)) reject(shuttingDown());
    if (this.#busy.size > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve));
    await Promise.all(this.#idle.splice(0).map((worker) => worker.terminate()));
  }

  /** If a thread has the task already, its answer will find no one. */
  #giveUp(task: Task<Job>): void {
    const place = this.#queue.indexOf(task);
    if (place >= 0) this.#queue.splice(place, 1);
    task.reject(clientClosed());
    this.#dispatch(); // It may have been the one that waited for memory, and held up those behind it.
  }

  #dispatch(): void {
    for (let task = this.#queue[0]; task; task = this.#queue[0]) {
      const bytesInUse = this.#bytesInUse + this.#budget.bytesOf(task.job);
      if (this.#busy.size > 0 && bytesInUse > this.#budget.mostBytes) return;
      const mayStart = this.#busy.size + this.#idle.length < this.#threads;
      const worker = this.#idle.pop() ?? (mayStart ? this.#start() : undefined);
      if (!worker) return;
      this.#queue.shift();
      this.#busy.set(worker, task);
      this.#bytesInUse = bytesInUse;
      worker.ref();
      const bytes = new Uint8Array(task.job.bytes);
      worker.postMessage({ ...task.job, bytes }, [bytes.buffer]);
    }
    if (this.#busy.size === 0) this.#whenIdle?.();
  }

  #start(): Worker {
    const worker = new Worker(this.#script, { execArgv: [] }); // Not the flags of the main thread: --input-type would end it.
    let death: unknown;
    worker.on('message', (reply: WorkerReply) => this.#finish(worker, reply));
    worker.on('error', (error) => (death = error));
    worker.on('exit', () => this.#bury(worker, death));
    return worker;
  }

  #finish(worker: Worker, { output, refusal }: WorkerReply): void {
    const task = this.#release(worker);
    this.#idle.push(worker);
    worker.unref();
    if (output) task?.resolve(output);
    else task?.reject(new ServiceError(refusal.code, refusal.detail));
    this.#dispatch();
  }

  #release(worker: Worker): Task<Job> | undefined {
    const task = this.#busy.get(worker);
    if (task) this.#bytesInUse -= this.#budget.bytesOf(task.job);
    this.#busy.delete(worker);
    return task;
  }

  #bury(worker: Worker, death: unknown): void {
    const task = this.#release(worker);
    const place = this.#idle.indexOf(worker);
    if (place >= 0) this.#idle.splice(place, 1);
    if (task && !task.signal?.aborted && ++task.deaths < mostDeaths) this.#queue.unshift(task);
    else task?.reject(new ServiceError('internal', 'The picture ended the thread that read it.', { cause: death }));
    this.#dispatch();
  }
}
