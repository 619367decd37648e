import { Session } from 'node:inspector/promises';

/** Which blocks of the code inputs have reached, by V8's own counters. */
export interface Coverage {
  /** The blocks of the chosen modules that what ran since the last call has reached and that are not known. */
  unknown(): Promise<string[]>;
  learn(blocks: readonly string[]): void;
  close(): void;
}

/** @param modules parts of paths: `src/weights/` */
export async function startCoverage(modules: readonly string[]): Promise<Coverage> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const known = new Set<string>();
  return {
    async unknown() {
      const { result } = await session.post('Profiler.takePreciseCoverage');
      return result
        .filter(({ url }) => modules.some((part) => url.includes(part)))
        .flatMap(({ url, functions }) =>
          functions.flatMap(({ ranges }) =>
            ranges
              .filter(({ count }) => count > 0)
              .map(({ startOffset, endOffset }) => `${url} ${startOffset} ${endOffset}`)
              .filter((block) => !known.has(block)),
          ),
        );
    },
    learn(blocks) {
      for (const block of blocks) known.add(block);
    },
    close: () => session.disconnect(),
  };
}

/** Looking at the coverage costs as much as dozens of inputs, so that many are looked at together. */
const batch = { least: 64, most: 1024, group: 32 };

/** Finds the inputs that reached something new. */
export class NewCoverage {
  readonly #coverage: Coverage;
  readonly #run: (input: Buffer) => Promise<unknown>;
  #waiting: Buffer[] = [];
  #size = batch.least;

  /** @param run runs an input once more */
  constructor(coverage: Coverage, run: (input: Buffer) => Promise<unknown>) {
    this.#coverage = coverage;
    this.#run = run;
  }

  /** @returns those of the last inputs that reached new blocks; most of the time none, since many are looked at together */
  async after(input: Buffer): Promise<Buffer[]> {
    this.#waiting.push(input);
    if (this.#waiting.length < this.#size) return [];
    const inputs = this.#waiting;
    this.#waiting = [];
    const blocks = await this.#coverage.unknown();
    this.#size = blocks.length > 0 ? batch.least : Math.min(batch.most, this.#size * 2);
    if (blocks.length === 0) return [];
    const found: Buffer[] = [];
    for (let at = 0; at < inputs.length; at += batch.group) {
      const group = inputs.slice(at, at + batch.group);
      for (const one of group) await this.#run(one);
      if ((await this.#coverage.unknown()).length > 0) found.push(...(await this.#oneByOne(group)));
    }
    this.#coverage.learn(blocks);
    return found;
  }

  async #oneByOne(group: readonly Buffer[]): Promise<Buffer[]> {
    const found: Buffer[] = [];
    for (const input of group) {
      await this.#run(input);
      const blocks = await this.#coverage.unknown();
      this.#coverage.learn(blocks);
      if (blocks.length > 0) found.push(input);
    }
    return found;
  }
}
