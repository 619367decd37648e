import type { FastifyBaseLogger } from 'fastify';
import type { ErrorCode } from '../errors.js';

const everyMs = 1000;

/** What a server refuses because it has too much to do. There may be thousands a second: they are not logged one by one. */
export const refusalCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['overloaded', 'queue_full']);

/** Logs refusals as counts, in one line a second for each model and code; the metrics count each at once. */
export class RefusalLog {
  readonly #log: FastifyBaseLogger;
  readonly #counts = new Map<string, { model: string; code: ErrorCode; count: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(log: FastifyBaseLogger) {
    this.#log = log;
  }

  add(model: string, code: ErrorCode): void {
    const key = `${model} ${code}`;
    const entry = this.#counts.get(key);
    if (entry) entry.count++;
    else this.#counts.set(key, { model, code, count: 1 });
    this.#timer ??= setTimeout(() => this.flush(), everyMs).unref();
  }

  /** Writes what was counted since the last line. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const counted of this.#counts.values()) this.#log.warn(counted, 'requests refused');
    this.#counts.clear();
  }
}
