import type { Engine, EngineInfo, EngineResult, EngineSpec } from '../../src/engines/engine.js';

/** What `PixelSums` answers for one picture [size, size, 3]: the sums of its three channels, and its first byte. */
export function pixelSums(pixels: Uint8Array): number[] {
  const sums = [0, 0, 0];
  for (const [i, value] of pixels.entries()) sums[i % 3] = (sums[i % 3] as number) + value;
  return [...sums, pixels[0] as number];
}

/** An engine of four classes that needs no weights. It keeps the contract: one run at a time, none after close. */
export class PixelSums implements Engine {
  readonly info: EngineInfo;
  readonly batchSizes: number[] = [];
  closed = false;
  /** While set, runs wait for it. */
  gate: Promise<void> | undefined;
  readonly #spec: EngineSpec;
  #running = false;

  constructor(spec: EngineSpec) {
    this.#spec = spec;
    this.info = {
      engine: 'onnxruntime',
      version: '1.2.3',
      device: 'cpu',
      precision: spec.precision,
      threads: spec.threads,
    };
  }

  async run(pixels: Uint8Array, n: number): Promise<EngineResult> {
    const pictureBytes = this.#spec.inputSize ** 2 * 3;
    if (this.closed) throw new Error('run after close');
    if (this.#running) throw new Error('two runs at once');
    if (pixels.length !== n * pictureBytes) throw new Error(`${pixels.length} bytes for ${n} pictures`);
    this.#running = true;
    this.batchSizes.push(n);
    await this.gate;
    const pictures = Array.from({ length: n }, (_, i) => pixels.subarray(i * pictureBytes, (i + 1) * pictureBytes));
    this.#running = false;
    return { logits: Float32Array.from(pictures.flatMap(pixelSums)), computeMs: 2.5 };
  }

  async close(): Promise<void> {
    if (this.#running) throw new Error('close during a run');
    this.closed = true;
  }
}
