import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine, EngineCondition, EngineInfo, EngineResult } from '../../src/engines/engine.js';
import { stateDict } from '../../src/network/state-dict.js';
import { elementCount } from '../../src/tensor.js';
import { buildNetwork } from '../../src/vgg/network.js';
import { writeSafetensors } from '../../src/weights/safetensors-writer.js';

export const categories = ['red', 'green', 'blue'];

const crop = 8;

/** Writes a manifest and weights that fit it; the weights are all 0, for the engine below does without. */
export async function writeColourModel(dir: string, name: string): Promise<string> {
  const network = { cfg: [4, 'M'], batch_norm: false, pool: [1, 1], hidden: 4, classes: 3 } as const;
  const { layers } = buildNetwork({ ...network, cfg: network.cfg, batchNorm: false });
  const tensors = stateDict({ layers }).map(({ name, shape }) => ({
    name,
    shape,
    chunks: [new Float32Array(elementCount(shape))],
  }));
  await writeSafetensors(join(dir, `${name}.safetensors`), tensors);
  const path = join(dir, `${name}.json`);
  const manifest = {
    name,
    weights: { name: 'COLOURS_V1', file: `${name}.safetensors` },
    network,
    transforms: { resize: crop, crop, mean: [0, 0, 0], std: [1, 1, 1] },
    categories,
  };
  await writeFile(path, JSON.stringify(manifest));
  return path;
}

/** The logit of a colour is the mean of its channel, so a red picture is "red". Its runs can be held up and made to fail. */
export class ColourEngine implements Engine {
  readonly info: EngineInfo = {
    engine: 'onnxruntime',
    version: '0',
    device: 'cpu',
    precision: 'fp32',
    threads: 1,
  };
  /** Sizes of the batches that were begun. */
  readonly batches: number[] = [];
  onRun = () => {};
  /** Of `start` and of runs. */
  failure: Error | undefined;
  /** Resolves when `start` has been called. */
  readonly starting: Promise<void>;
  closed = 0;
  #listeners: ((condition: EngineCondition) => void)[] = [];
  #began = () => {};
  #startGate: Promise<void> = Promise.resolve();
  #gate: Promise<void> = Promise.resolve();
  #openStart = () => {};
  #open = () => {};

  constructor() {
    this.starting = new Promise((resolve) => {
      this.#began = resolve;
    });
  }

  /** @param signal rejects a start that is held up */
  async start(signal?: AbortSignal): Promise<Engine> {
    this.#began();
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(new Error('closed while it was starting')));
    });
    await Promise.race([this.#startGate, aborted]);
    if (this.failure !== undefined) throw this.failure;
    return this;
  }

  /** Starts that begin from now on wait for `release`. */
  holdStart(): void {
    this.#startGate = new Promise((resolve) => {
      this.#openStart = resolve;
    });
  }

  /** Runs that begin from now on wait for `release`. */
  hold(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  release(): void {
    this.#openStart();
    this.#open();
  }

  async run(pixels: Uint8Array, n: number): Promise<EngineResult> {
    this.batches.push(n);
    this.onRun();
    const logits = meanColours(pixels, n);
    await this.#gate;
    if (this.failure !== undefined) throw this.failure;
    return { logits, computeMs: 1.5 };
  }

  watch(listener: (condition: EngineCondition) => void): void {
    this.#listeners.push(listener);
    listener({ state: 'up' });
  }

  /** Tells whoever watches. */
  change(condition: EngineCondition): void {
    for (const listener of this.#listeners) listener(condition);
  }

  async close(): Promise<void> {
    this.closed++;
  }
}

/** [n, crop, crop, 3] to [n, 3]. */
function meanColours(pixels: Uint8Array, n: number): Float32Array {
  const logits = new Float32Array(n * 3);
  pixels.forEach((value, at) => {
    const picture = Math.floor(at / (crop * crop * 3));
    logits[picture * 3 + (at % 3)] = (logits[picture * 3 + (at % 3)] as number) + value / 255 / (crop * crop);
  });
  return logits;
}
