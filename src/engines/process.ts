import { setTimeout as delay } from 'node:timers/promises';
import { ServiceError } from '../errors.js';
import { EngineChild, EngineDiedError, EngineLoadError } from './child-handle.js';
import { chooseEngine, type EngineChoice, mayFallBack } from './choose.js';
import type { Engine, EngineInfo, EngineName, EngineResult, EngineSpec } from './engine.js';
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
  /** A run that takes longer is a hang: the process is killed. @default 120_000 */
  readonly runTimeoutMs?: number;
  /** How long close() waits for a run in flight before it kills. @default 10_000 */
  readonly graceMs?: number;
  /** Gets each line that the process writes to its standard error or output. */
  readonly log?: (line: string) => void;
  /** Called when the process has died and another one is about to be started. */
  readonly onRestart?: (reason: string) => void;
  /** Ends the start of the first process; without effect once that is ready. */
  readonly signal?: AbortSignal;
  /** The program of the process. @default child.js beside this file */
  readonly program?: URL;
}

const longestBackoffMs = 5_000;

/**
 * Starts a network in a process of its own and warms it up; a small one with fewer threads than it may have. If the
 * process dies, hangs or breaks the protocol, another one is started; the batch that was in it is run once more.
 * @throws EngineChoiceError for an engine that is not built or does not run the network
 * @throws Error with the reason of the process when it cannot start: a library or file that is missing, a network that is
 *   refused, a start that was aborted
 */
export async function startEngine(whole: EngineSpec, given: EngineProcessOptions = {}): Promise<EngineProcess> {
  const spec = { ...whole, threads: usefulThreads(whole, whole.inputSize, whole.threads) };
  const asked = given.engine ?? 'auto';
  const closing = new AbortController();
  const { signal = closing.signal } = given;
  const start = async (engine: EngineName, reason: string) => {
    given.onChosen?.(engine, reason);
    const options: ChosenOptions = { ...given, engine };
    return new EngineProcess(spec, options, closing, await startChild(spec, options, signal));
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

/** A process that is started again is of the engine of the first. */
type ChosenOptions = EngineProcessOptions & { readonly engine: EngineName };

export type { EngineProcess };

class EngineProcess implements Engine {
  readonly info: EngineInfo;
  readonly #spec: EngineSpec;
  readonly #options: ChosenOptions;
  readonly #closing: AbortController;
  /** The process that answers, or the attempt to start it. */
  #child: Promise<EngineChild>;
  #pid: number | undefined;
  /** Processes lost since the last run that was answered. */
  #losses = 0;
  #closed: Promise<void> | undefined;

  constructor(spec: EngineSpec, options: ChosenOptions, closing: AbortController, first: EngineChild) {
    this.info = first.info;
    this.#spec = spec;
    this.#options = options;
    this.#closing = closing;
    this.#pid = first.pid;
    this.#child = this.#watched(Promise.resolve(first));
  }

  /** Of the present process, or of the last one while another is being started. */
  get pid(): number | undefined {
    return this.#pid;
  }

  /** Throws ServiceError `engine_failed` (its cause says why) or, from close() on, `shutting_down`. */
  async run(pixels: Uint8Array, n: number): Promise<EngineResult> {
    const pictureBytes = this.#spec.inputSize ** 2 * 3;
    if (!(n >= 1 && n <= this.#spec.maxBatchSize) || pixels.byteLength !== n * pictureBytes) {
      throw new RangeError(`${n} pictures in ${pixels.byteLength} bytes; each is ${pictureBytes} bytes`);
    }
    for (let attempt = 1; ; attempt++) {
      this.#refuseIfClosing();
      const child = this.#child;
      try {
        const result = await (await child).run(pixels, n);
        this.#losses = 0;
        return result;
      } catch (error) {
        this.#refuseIfClosing();
        if (!(error instanceof EngineDiedError)) {
          throw new ServiceError('engine_failed', 'The engine could not run this batch.', { cause: error });
        }
        this.#replace(child, error.message);
        if (attempt === 2) {
          throw new ServiceError('engine_failed', 'The engine was lost twice with this batch.', { cause: error });
        }
      }
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    const child = await this.#child.catch(() => undefined);
    await child?.close(this.#options.graceMs ?? 10_000);
  }

  #refuseIfClosing(): void {
    if (this.#closing.signal.aborted) throw new ServiceError('shutting_down', 'The engine is being closed.');
  }

  /** Once for each child that is lost: whoever notices first, the run that was in it or its end. */
  #replace(lost: Promise<EngineChild>, reason: string): void {
    if (this.#child !== lost || this.#closing.signal.aborted) return;
    this.#losses++;
    this.#options.onRestart?.(reason);
    this.#child = this.#watched(this.#startAgain(backoffMs(this.#losses)));
  }

  #watched(starting: Promise<EngineChild>): Promise<EngineChild> {
    void starting
      .then(
        (child) => {
          this.#pid = child.pid;
          return child.ended;
        },
        (error: Error) => error.message,
      )
      .then((reason) => this.#replace(starting, reason));
    return starting;
  }

  async #startAgain(waitMs: number): Promise<EngineChild> {
    const { signal } = this.#closing;
    // Not unref'd: like the process it stands in for, it keeps the program alive until close().
    if (waitMs > 0) await delay(waitMs, undefined, { signal });
    return startChild(this.#spec, this.#options, signal);
  }
}

function startChild(spec: EngineSpec, options: ChosenOptions, signal: AbortSignal): Promise<EngineChild> {
  return EngineChild.start(spec, {
    engine: options.engine,
    program: options.program ?? new URL('./child.js', import.meta.url),
    startTimeoutMs: options.startTimeoutMs ?? 600_000,
    runTimeoutMs: options.runTimeoutMs ?? 120_000,
    log: options.log ?? (() => {}),
    env: options.env ?? {},
    signal,
  });
}

/** The first one at once, then 0.1 s, 0.2 s, 0.4 s ... */
function backoffMs(losses: number): number {
  return losses < 2 ? 0 : Math.min(100 * 2 ** (losses - 2), longestBackoffMs);
}
