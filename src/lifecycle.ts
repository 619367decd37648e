import type { Logger } from 'pino';

/** What ends with the process. */
export interface Ending {
  /** How long `stop` may take. */
  readonly timeoutMs: number;
  /** Called once, at the first reason to end: new work should go elsewhere. @returns how long it is still taken, in ms */
  leave(): number;
  /** Takes no new work, finishes what is under way, and lets go of everything. */
  stop(): Promise<void>;
  /** For the log: what `stop` has not finished. */
  unfinished(): Readonly<Record<string, unknown>>;
}

type StopSignal = 'SIGTERM' | 'SIGINT' | 'SIGHUP';

/** SIGHUP is the end of the terminal, unless it is `release`d to those who read files again. */
const stopSignals: readonly StopSignal[] = ['SIGTERM', 'SIGINT', 'SIGHUP'];

/**
 * How the process ends. A signal lets the balancer notice (`leave`), then stops, and ends it with 0; an error that
 * nobody caught stops at once, since what is wrong by then is unknown, and ends it with 1. A second signal, or a stop
 * that takes longer than it may, ends it with 1 on the spot and logs what was cut off. An error on the way is logged,
 * makes the code 1, and cuts off nothing.
 */
export class Lifecycle {
  readonly #logger: Pick<Logger, 'info' | 'error' | 'fatal'>;
  #ending: Ending | undefined;
  #isEnding = false;
  #wasSignalled = false;
  #exitCode: 0 | 1 = 0;
  #endDelay = () => {};

  /** Listens for signals and errors at once: a process with the id 1, as in a container, has no other way to end. */
  constructor(logger: Pick<Logger, 'info' | 'error' | 'fatal'>) {
    this.#logger = logger;
    for (const signal of stopSignals) process.on(signal, this.#onSignal);
    process.on('uncaughtException', this.#onError); // Rejections that nobody handles come here too.
  }

  /** Until then a signal ends the process on the spot, with 0: nobody has been promised anything. */
  begin(ending: Ending): void {
    this.#ending = ending;
  }

  /** Means something else from now on than the end. */
  release(signal: StopSignal): void {
    process.off(signal, this.#onSignal);
  }

  uninstall(): void {
    for (const signal of stopSignals) process.off(signal, this.#onSignal);
    process.off('uncaughtException', this.#onError);
  }

  readonly #onSignal = (signal: StopSignal): void => {
    if (this.#wasSignalled) this.#cutOff('second signal, ending at once', { signal });
    this.#wasSignalled = true;
    this.#logger.info({ signal }, 'shutting down');
    if (!this.#isEnding) void this.#end(true);
  };

  readonly #onError = (err: unknown, origin: string): void => {
    this.#exitCode = 1;
    this.#logger.fatal({ err, origin }, this.#isEnding ? 'uncaught error' : 'uncaught error, shutting down');
    if (this.#isEnding) this.#endDelay();
    else void this.#end(false);
  };

  async #end(mayDelay: boolean): Promise<void> {
    this.#isEnding = true;
    const ending = this.#ending;
    if (ending !== undefined) {
      try {
        const delayMs = ending.leave();
        if (mayDelay && delayMs > 0) await this.#delay(delayMs);
        setTimeout(() => {
          this.#cutOff(`not done ${ending.timeoutMs} ms after it was told to stop, ending`);
        }, ending.timeoutMs);
        await ending.stop();
      } catch (err) {
        this.#exitCode = 1;
        this.#logger.fatal({ err }, 'could not stop in order');
      }
    }
    process.exit(this.#exitCode);
  }

  #delay(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#endDelay = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #cutOff(message: string, more: Readonly<Record<string, unknown>> = {}): never {
    this.#logger.error({ ...more, cut_off: this.#ending?.unfinished() }, message);
    process.exit(1);
  }
}
