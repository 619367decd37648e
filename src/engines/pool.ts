import type { Engine, EngineInfo, EngineResult } from './engine.js';

/**
 * Several engines of one network as one: as many runs at a time as there are engines, each on whichever is free. Who
 * runs more at a time waits for the first that becomes free.
 */
export class EnginePool implements Engine {
  readonly #engines: readonly Engine[];
  readonly #idle: Engine[];
  readonly #waiting: ((engine: Engine) => void)[] = [];

  /** @param engines at least one */
  constructor(engines: readonly Engine[]) {
    if (engines.length === 0) throw new RangeError('a pool of no engines');
    this.#engines = engines;
    this.#idle = [...engines];
  }

  /** Of the first; they differ in nothing but their device. */
  get info(): EngineInfo {
    return (this.#engines[0] as Engine).info;
  }

  get lanes(): number {
    return this.#engines.length;
  }

  async run(pixels: Uint8Array, n: number): Promise<EngineResult> {
    const engine = this.#idle.shift() ?? (await new Promise<Engine>((resolve) => this.#waiting.push(resolve)));
    try {
      return await engine.run(pixels, n);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(engine);
      else this.#idle.push(engine);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#engines.map((engine) => engine.close()));
  }
}
