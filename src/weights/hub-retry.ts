/** How patient a download is. */
export interface Patience {
  /** @default 6, attempts in a row that do not get on */
  readonly attempts: number;
  /** @default 1 MiB: what an attempt must add to the furthest point so far for the count to begin anew */
  readonly progressBytes: number;
  /** @default 30 s without a byte end an attempt */
  readonly idleMs: number;
  /** @default 10 s */
  readonly connectMs: number;
  /** @default 0.5 s, after the first failure; doubled after each further one */
  readonly firstWaitMs: number;
  /** @default 15 s */
  readonly longestWaitMs: number;
  /** @default 2 min: a server that asks for more by Retry-After is not waited for */
  readonly longestRetryAfterMs: number;
  /** @default 0.5 s between looks at whether another process has finished the same file */
  readonly pollMs: number;
}

export const defaultPatience: Patience = {
  attempts: 6,
  progressBytes: 2 ** 20,
  idleMs: 30_000,
  connectMs: 10_000,
  firstWaitMs: 500,
  longestWaitMs: 15_000,
  longestRetryAfterMs: 120_000,
  pollMs: 500,
};

/**
 * Exponential, and between half and all of that by chance, so that clients that failed together do not return together.
 * @param failures 1 after the first
 * @param random from 0 to 1
 */
export function backoffMs(failures: number, { firstWaitMs, longestWaitMs }: Patience, random = Math.random()): number {
  return Math.min(longestWaitMs, firstWaitMs * 2 ** (failures - 1)) * (0.5 + random / 2);
}

/**
 * The wait that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date). Undefined for none, or for one that says neither.
 * @param now milliseconds since 1970
 */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  const text = header?.trim();
  if (!text) return undefined;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
