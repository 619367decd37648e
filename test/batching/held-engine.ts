import type { TestContext } from 'node:test';

interface HeldRun {
  readonly inputs: readonly number[];
  /** Ends the run with ten times each input. */
  finish(): Promise<void>;
  fail(error: Error): Promise<void>;
}

/** An engine whose runs end when the test says so. */
export class HeldEngine {
  /** All that were ever started. */
  readonly runs: HeldRun[] = [];

  readonly run = (inputs: number[]): Promise<number[]> =>
    new Promise((resolve, reject) => {
      this.runs.push({
        inputs,
        finish: () => {
          resolve(inputs.map((input) => 10 * input));
          return settled();
        },
        fail: (error) => {
          reject(error);
          return settled();
        },
      });
    });

  /** The one started last. */
  get last(): HeldRun {
    const run = this.runs.at(-1);
    if (!run) throw new Error('no run has started');
    return run;
  }

  /** Of all that were started; nothing happens to those that have ended. */
  async finishAll(): Promise<void> {
    for (const run of this.runs) await run.finish();
  }

  get batches(): (readonly number[])[] {
    return this.runs.map(({ inputs }) => inputs);
  }
}

/** After everything that was promised has happened. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Time stands still (setTimeout and performance.now) until the test advances it. */
export function stopClock(t: TestContext): (ms: number) => Promise<void> {
  let now = 1000;
  t.mock.timers.enable({ apis: ['setTimeout'] });
  t.mock.method(performance, 'now', () => now);
  return (ms) => {
    now += ms;
    t.mock.timers.tick(ms);
    return settled();
  };
}
