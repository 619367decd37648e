import { readFileSync } from 'node:fs';
import type { Engine, EngineInfo, EngineSpec, IsaChoice } from '../engine.js';
import { tensorsOf } from '../tensors.js';
import { type Handle, type Isa, loadAddon } from './addon.js';
import { nativeLayers } from './layers.js';
import { readPlan } from './plan.js';
import { WeightFiles } from './weight-files.js';

/**
 * The engine of native/ in this process. Its runs are synchronous: they block the event loop until the logits are there.
 * The files of weights are read here and closed: what happens to them afterwards does not matter.
 * @param isa @default what the spec says
 * @throws Error when the addon cannot be loaded, a file of weights is not there or too short, there is not enough
 *   memory, or the machine has not that instruction set or nothing to compute that precision by; RangeError for a
 *   network that does not fit
 */
export async function openNative(spec: EngineSpec, isa = isaOf(spec.isa)): Promise<Engine> {
  const addon = loadAddon();
  const { inputSize, classes, mean, std, maxBatchSize, threads, precision } = spec;
  const weights = await WeightFiles.open(tensorsOf(spec), spec.files);
  let handle: Handle;
  try {
    const layers = nativeLayers(spec.layers, (tensor) => weights.place(tensor));
    const { files } = weights;
    handle = addon.open({ files, layers, inputSize, classes, mean, std, maxBatchSize, threads, precision, isa });
  } finally {
    await weights.close();
  }
  const about = addon.about(handle);
  const info: EngineInfo = {
    engine: 'native',
    version: packageVersion(),
    device: 'cpu',
    precision,
    threads,
    isa: about.isa,
    plan: readPlan(about.plan, spec),
  };
  return {
    info,
    async run(pixels, n) {
      const startedAt = performance.now();
      const logits = new Float32Array(n * classes);
      addon.run(handle, pixels, n, logits);
      return { logits, computeMs: performance.now() - startedAt };
    },
    async close() {
      addon.close(handle);
    },
  };
}

/** As the addon takes it. */
function isaOf(isa: IsaChoice = 'auto'): Isa | '' {
  return isa === 'auto' ? '' : isa;
}

function packageVersion(): string {
  return JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')).version;
}
