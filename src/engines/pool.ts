import type { Engine, EngineCondition, EngineInfo, EngineResult } from './engine.js';

interface Lane {
  readonly engine: Engine;
  condition: EngineCondition;
  isBusy: boolean;
}

/**
 * Several engines of one network as one: as many runs at a time as there are engines, each on one that is free and lives.
 * Who runs more at a time waits for the first that is. The pool is up while one of them lives, and has failed when all have.
 */
export class EnginePool implements Engine {
  readonly #lanes: readonly Lane[];
  readonly #waiting: ((lane: Lane) => void)[] = [];
  readonly #listeners: ((condition: EngineCondition) => void)[] = [];
  #condition: EngineCondition = { state: 'up' };
  #isClosed = false;

  /** @param engines at least one */
  constructor(engines: readonly Engine[]) {
    if (engines.length === 0) throw new RangeError('a pool of no engines');
    this.#lanes = engines.map((engine) => ({ engine, condition: { state: 'up' }, isBusy: false }));
    for (const lane of this.#lanes) {
      lane.engine.watch?.((condition) => {
        lane.condition = condition;
        this.#changed();
      });
    }
  }

  /** Of the first; they differ in nothing but their device. */
  get info(): EngineInfo {
    return this.#first.engine.info;
  }

  get lanes(): number {
    return this.#lanes.length;
  }

  watch(listener: (condition: EngineCondition) => void): void {
    this.#listeners.push(listener);
    listener(this.#condition);
  }

  async run(pixels: Uint8Array, n: number): Promise<EngineResult> {
    const lane = await this.#freeLane();
    try {
      return await lane.engine.run(pixels, n);
    } finally {
      lane.isBusy = false;
      this.#dispatch();
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#dispatch();
    await Promise.all(this.#lanes.map(({ engine }) => engine.close()));
  }

  get #first(): Lane {
    return this.#lanes[0] as Lane;
  }

  #freeLane(): Promise<Lane> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      // When none will take it any more, whichever is asked says why.
      const isRefused = this.#isClosed || this.#condition.state === 'failed';
      const lane = this.#lanes.find(({ condition, isBusy }) => !isBusy && (isRefused || condition.state === 'up'));
      if (!lane) return;
      lane.isBusy = true;
      this.#waiting.shift()?.(lane);
    }
  }

  #changed(): void {
    const before = this.#condition;
    this.#condition = conditionOf(this.#lanes);
    this.#dispatch();
    if (before.state === 'up' && this.#condition.state === 'up') return;
    for (const listener of this.#listeners) listener(this.#condition);
  }
}

/** That of the first of those that are best off. */
function conditionOf(lanes: readonly Lane[]): EngineCondition {
  const conditions = lanes.map(({ condition }) => condition);
  const first = (state: EngineCondition['state']) => conditions.find((condition) => condition.state === state);
  return first('up') ?? first('down') ?? (first('failed') as EngineCondition);
}
