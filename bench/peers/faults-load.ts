import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';

export interface Picture {
  readonly type: string;
  readonly bytes: Uint8Array;
}

/** The status of an answer, or why there was none. */
export type Outcome = number | string;

const answerWithinMs = 30_000;
const connections = 16;

/** As many requests after one another as can be, on each of the connections. */
export class Load {
  lastGoodAt = performance.now();
  readonly #pool: Pool;
  readonly #working: Promise<unknown>;
  #isOver = false;
  #requests = 0;
  #failed = 0;
  #refusedConnections = 0;
  #longestGapMs = 0;

  constructor(url: string, picture: Picture) {
    this.#pool = poolOf(url, connections);
    this.#working = Promise.all(Array.from({ length: connections }, () => this.#work(url, picture)));
  }

  async end() {
    this.#isOver = true;
    await this.#working;
    await this.#pool.destroy();
    const { requests, failed, refused } = {
      requests: this.#requests,
      failed: this.#failed,
      refused: this.#refusedConnections,
    };
    return { requests, failed, failedOnOpen: failed - refused, longestGapMs: this.#longestGapMs };
  }

  async #work(url: string, picture: Picture): Promise<void> {
    while (!this.#isOver) {
      const outcome = await post(this.#pool, url, picture);
      this.#requests++;
      if (outcome === 200) {
        const now = performance.now();
        this.#longestGapMs = Math.max(this.#longestGapMs, now - this.lastGoodAt);
        this.lastGoodAt = now;
        continue;
      }
      this.#failed++;
      // Nobody listens: that is no request that a server has lost.
      if (outcome === 'ECONNREFUSED') this.#refusedConnections++;
      await sleep(50);
    }
  }
}

export function poolOf(url: string, count: number): Pool {
  return new Pool(new URL(url).origin, { connections: count, connect: { timeout: answerWithinMs } });
}

export async function one(url: string, picture: Picture): Promise<Outcome> {
  const pool = poolOf(url, 1);
  const outcome = await post(pool, url, picture);
  await pool.destroy();
  return outcome;
}

export async function post(pool: Pool, url: string, { type, bytes }: Picture): Promise<Outcome> {
  const { pathname: path } = new URL(url);
  const signal = AbortSignal.timeout(answerWithinMs);
  try {
    const headers = { 'content-type': type };
    const answer = await pool.request({ path, method: 'POST', headers, body: bytes, signal });
    await answer.body.dump();
    return answer.statusCode;
  } catch (error) {
    const { code, name } = error as Error & { code?: string };
    return code === undefined || typeof code !== 'string' ? name : code;
  }
}
