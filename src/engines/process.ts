import { EventEmitter, once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineLostError, ServiceError } from '../errors.js';
import { EngineChild, EngineDiedError, EngineLoadError, type Loss, type LossKind } from './child-handle.js';
import { chooseEngine, type EngineChoice, mayFallBack } from './choose.js';
import type { Engine, EngineCondition, EngineInfo, EngineName, EngineResult, EngineSpec } from './engine.js';
import { type FileStamp, OtherFileError, refuseReplaced, stampOf } from './file-stamp.js';
import { isAddonBuilt } from './native/addon.js';
import { usefulThreads } from './threads.js';

export interface EngineProcessOptions {
  /** @default 'auto' */
  readonly engine?: EngineChoice;
  /** Why that engine, where the caller has chosen it. */
  readonly reason?: string;
  /** Added to the environment of the process. */
  readonly env?: NodeJS.ProcessEnv;
  /** Called before the first process is started, and again when another engine stands in for one that does not load. */
  readonly onChosen?: (engine: EngineName, reason: string) => void;
  /** Called when the chosen engine cannot be loaded and onnxruntime stands in for it; the reason says what to do. */
  readonly onFallback?: (reason: string) => void;
  /**
   * For loading and warming up. A network of 0.6 GB takes seconds from a warm disk, minutes from a cold network one.
   * @default 600_000
   */
  readonly startTimeoutMs?: number;
  /** A run that takes longer is a hang: the process is killed. @default 60_000 */
  readonly runTimeoutMs?: number;
  /** So many processes lost in a row, without an answered run between them, and it gives up. @default 5 */
  readonly maxFailures?: number;
  /**
   * One that has given up tries again by itself after so long: for an engine beside others, which go on meanwhile.
   * @default never
   */
  readonly retryMs?: number | undefined;
  /** How long close() waits for a run in flight before it kills. @default 10_000 */
  readonly graceMs?: number;
  /** Gets each line that the process writes to its standard error or output. */
  readonly log?: (line: string) => void;
  /** Called when the process has been lost and another one is about to be started. */
  readonly onRestart?: (reason: string, kind: LossKind) => void;
  /** Called with 1 when a process is ready, with -1 when it is gone. */
  readonly onLiving?: (change: 1 | -1) => void;
  /** Ends the start of the first process; without effect once that is ready. */
  readonly signal?: AbortSignal;
  /** The program of the process. @default child.js beside this file */
  readonly program?: URL;
}

const firstStartTimeoutMs = 600_000;
const longestBackoffMs = 5_000;

/** A process that has lived so long is one of its own, not the next of a row that fails. */
const longLifeMs = 60_000;

/** A process that is started again finds its files in memory; one that takes ten times as long as the first hangs. */
const restartSlack = 10;
const leastRestartTimeoutMs = 10_000;

/**
 * Starts a network in a process of its own and warms it up; a small one with fewer threads than it may have. If the
 * process dies, hangs or answers nonsense, another one is started, of the same files. What becomes of the batch that was in
 * it is decided by the caller.
 * @throws EngineChoiceError for an engine that is not built or does not run the network
 * @throws Error with the reason of the process when it cannot start: a library or file that is missing, a network that is
 *   refused, a start that was aborted
 */
export async function startEngine(whole: EngineSpec, given: EngineProcessOptions = {}): Promise<EngineProcess> {
  const files = whole.files ?? (await stampsOf(whole));
  const spec = { ...whole, files, threads: usefulThreads(whole, whole.inputSize, whole.threads) };
  const asked = given.engine ?? 'auto';
  const closing = new AbortController();
  const { signal = closing.signal } = given;
  const start = async (engine: EngineName, reason: string) => {
    given.onChosen?.(engine, reason);
    const options: ChosenOptions = { ...given, engine };
    const startedAt = performance.now();
    const first = await startChild(spec, options, signal, {
      startTimeoutMs: options.startTimeoutMs ?? firstStartTimeoutMs,
      warmUpSize: spec.maxBatchSize,
    });
    return new EngineProcess(spec, options, closing, first, performance.now() - startedAt);
  };
  const { engine, reason } = chooseEngine(asked, isAddonBuilt(), spec);
  try {
    return await start(engine, given.reason ?? reason);
  } catch (error) {
    if (!(error instanceof EngineLoadError) || !mayFallBack(asked, engine, spec)) throw error;
    given.onFallback?.(error.message);
    return await start('onnxruntime', 'the native engine cannot be loaded');
  }
}

type StampedSpec = EngineSpec & { readonly files: readonly FileStamp[] };

/** A process that is started again is of the engine of the first. */
type ChosenOptions = EngineProcessOptions & { readonly engine: EngineName };

export type { EngineProcess };

class EngineProcess implements Engine {
  readonly info: EngineInfo;
  readonly #spec: StampedSpec;
  readonly #options: ChosenOptions;
  readonly #closing: AbortController;
  readonly #restartTimeoutMs: number;
  /** `change`: of the condition, or that it is being closed. */
  readonly #events = new EventEmitter().setMaxListeners(0);
  #condition: EngineCondition = { state: 'up' };
  /** The process that lives: there is one exactly while the condition is `up`. */
  #child: EngineChild | undefined;
  #pid: number | undefined;
  #upSince = 0;
  /** Processes lost since the last run that was answered. */
  #losses = 0;
  /** Until a process lives again, or it has given up. */
  #replacing: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(
    spec: StampedSpec,
    options: ChosenOptions,
    closing: AbortController,
    first: EngineChild,
    firstStartMs: number,
  ) {
    this.info = first.info;
    this.#spec = spec;
    this.#options = options;
    this.#closing = closing;
    this.#restartTimeoutMs = Math.min(
      options.startTimeoutMs ?? firstStartTimeoutMs,
      Math.max(leastRestartTimeoutMs, restartSlack * firstStartMs),
    );
    this.#adopt(first);
  }

  /** Of the present process, or of the last one while another is being started. */
  get pid(): number | undefined {
    return this.#pid;
  }

  watch(listener: (condition: EngineCondition) => void): void {
    this.#events.on('change', () => listener(this.#condition));
    listener(this.#condition);
  }

  async run(pixels: Uint8Array, n: number): Promise<EngineResult> {
    const pictureBytes = this.#spec.inputSize ** 2 * 3;
    if (!(n >= 1 && n <= this.#spec.maxBatchSize) || pixels.byteLength !== n * pictureBytes) {
      throw new RangeError(`${n} pictures in ${pixels.byteLength} bytes; each is ${pictureBytes} bytes`);
    }
    const child = await this.#living();
    try {
      const result = await child.run(pixels, n);
      this.#losses = 0;
      return result;
    } catch (error) {
      this.#refuseIfClosing();
      if (!(error instanceof EngineDiedError)) {
        throw new ServiceError('engine_failed', 'The engine could not run this batch.', { cause: error });
      }
      this.#lost(child, error.loss);
      throw new EngineLostError({ cause: error, wasKilled: error.loss.signal === 'SIGKILL' });
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    this.#events.emit('change');
    await this.#replacing;
    await this.#child?.close(this.#options.graceMs ?? 10_000);
  }

  /** Waits while another process is being started. */
  async #living(): Promise<EngineChild> {
    for (;;) {
      this.#refuseIfClosing();
      if (this.#child) return this.#child;
      if (this.#condition.state === 'failed') {
        throw new ServiceError('model_not_ready', `The engine has given up: ${this.#condition.reason}`);
      }
      await once(this.#events, 'change');
    }
  }

  #refuseIfClosing(): void {
    if (this.#closing.signal.aborted) throw new ServiceError('shutting_down', 'The engine is being closed.');
  }

  #adopt(child: EngineChild): void {
    this.#child = child;
    this.#pid = child.pid;
    this.#upSince = performance.now();
    this.#options.onLiving?.(1);
    void child.ended.then((loss) => this.#lost(child, loss));
    this.#change({ state: 'up' });
  }

  /** Whoever notices first, the run that was in it or its end. */
  #lost(child: EngineChild, loss: Loss): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    this.#options.onLiving?.(-1);
    if (this.#closing.signal.aborted) return;
    if (performance.now() - this.#upSince > longLifeMs) this.#losses = 0;
    this.#replacing = this.#replace(loss).finally(() => {
      this.#replacing = undefined;
    });
  }

  /** Ends when a process lives, when it has given up, or when it is being closed. */
  async #replace(first: Loss): Promise<void> {
    const { maxFailures = 5, retryMs, onRestart } = this.#options;
    const { signal } = this.#closing;
    for (let loss = first; !signal.aborted; ) {
      this.#losses++;
      const isExhausted = this.#losses >= maxFailures;
      if (isExhausted) {
        const reason = `it was lost ${this.#losses} times in a row, the last time: ${loss.reason}`;
        this.#change({ state: 'failed', reason, mayRecover: true });
        if (retryMs === undefined) return;
        await this.#pause(retryMs);
        if (signal.aborted) return;
      }
      this.#change({ state: 'down', reason: loss.reason, attempt: this.#losses });
      onRestart?.(loss.reason, loss.kind);
      if (!isExhausted) await this.#pause(backoffMs(this.#losses));
      try {
        await refuseReplaced(this.#spec.files);
        this.#adopt(
          await startChild(this.#spec, this.#options, signal, {
            startTimeoutMs: this.#restartTimeoutMs,
            warmUpSize: 1, // Pictures wait, and half of the time until VGG-16 is ready goes into a whole batch.
          }),
        );
        return;
      } catch (error) {
        if (error instanceof OtherFileError) {
          this.#change({ state: 'failed', reason: error.message, mayRecover: false });
          return;
        }
        loss = error instanceof EngineDiedError ? error.loss : { kind: 'exited', reason: (error as Error).message };
      }
    }
  }

  /** Not unref'd: like the process it stands in for, it keeps the program alive until close(). */
  async #pause(ms: number): Promise<void> {
    if (ms > 0) await delay(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }

  #change(condition: EngineCondition): void {
    this.#condition = condition;
    this.#events.emit('change');
  }
}

/** Of a file that is not there the process says it best. */
async function stampsOf({ tensors }: EngineSpec): Promise<FileStamp[]> {
  const paths = [...new Set(tensors.map(({ path }) => path))];
  const stamps = await Promise.all(paths.map((path) => stampOf(path).catch(() => undefined)));
  return stamps.filter((stamp) => stamp !== undefined);
}

function startChild(
  spec: EngineSpec,
  options: ChosenOptions,
  signal: AbortSignal,
  start: { readonly startTimeoutMs: number; readonly warmUpSize: number },
): Promise<EngineChild> {
  return EngineChild.start(spec, {
    engine: options.engine,
    program: options.program ?? new URL('./child.js', import.meta.url),
    ...start,
    runTimeoutMs: options.runTimeoutMs ?? 60_000,
    log: options.log ?? (() => {}),
    env: options.env ?? {},
    signal,
  });
}

/** The first one at once, then 0.1 s, 0.2 s, 0.4 s ... */
function backoffMs(losses: number): number {
  return losses < 2 ? 0 : Math.min(100 * 2 ** (losses - 2), longestBackoffMs);
}
