import { closeSync, openSync, statSync } from 'node:fs';
import type { EngineSpec } from '../src/engines/engine.js';
import { isas, loadAddon, type NativeSpec, type Place } from '../src/engines/native/addon.js';
import { layersRun, nativeLayers } from '../src/engines/native/layers.js';
import { layerMultiplyAdds, outputShapes } from '../src/network/shapes.js';

/** The names are those of the JSON. */
export interface LayerTime {
  /** By torch's name; what is fused into it (batch norm, ReLU, pooling) is in its time. */
  readonly layer: string;
  readonly kind: string;
  /** Of Winograd's F(tile x tile). */
  readonly tile: number | null;
  /** Of one picture, in the fastest of all runs. */
  readonly ms: number;
  /** Of the time of all layers. */
  readonly share: number;
  /** 10^9 floating point operations a second, those that the direct convolution would need. */
  readonly gflops: number | null;
  /** `gflops` as a part of what the machine's float32 multipliers can do at most: Winograd's filtering may pass 1. */
  readonly of_peak: number | null;
}

export interface Profile {
  readonly isa: string;
  /** 10^9 floating point operations a second, measured on the spot. */
  readonly peak: number;
  readonly layers: readonly LayerTime[];
}

/** One step as the addon's plan and its times tell it; `layer` is an index, -1 for normalisation. */
interface Step {
  readonly layer: number;
  readonly kind: string;
  readonly tile?: number;
}

/**
 * Times each layer of the native engine in this process.
 * @param batch of pictures with made-up pixels
 * @throws Error of the addon: a precision or instruction set that the machine has not
 */
export function profileLayers(spec: EngineSpec, batch: number, rounds: number): Profile {
  const addon = loadAddon();
  if (addon.times === undefined) throw new Error('this addon does not time its layers: build it again (npm run build)');
  const handle = openProfiled(spec, batch);
  const { isa, plan } = addon.about(handle);
  const { precision = 'fp32', layers: steps } = JSON.parse(plan) as { precision?: string; layers: Step[] };
  if (precision !== spec.precision) {
    addon.close(handle);
    throw new Error(`this addon computes in ${precision}: build it again (npm run build)`);
  }
  const pixels = Uint8Array.from({ length: batch * spec.inputSize ** 2 * 3 }, (_, at) => Math.imul(at, 40503) >>> 8);
  const logits = new Float32Array(batch * spec.classes);
  // Of one run as a whole: when a thread waits for its CPU, its wait is counted with some step or other.
  let fastest: readonly number[] = [];
  // The first run takes the memory that later ones use again.
  for (let round = -1; round < rounds; round++) {
    addon.run(handle, pixels, batch, logits);
    const seen = (JSON.parse(addon.times(handle)) as { ms: number }[]).map(({ ms }) => ms / batch);
    if (round <= 0 || sum(seen) < sum(fastest)) fastest = seen;
  }
  addon.close(handle);

  const peak = addon.fmaPeak(isas.find((name) => name === isa) ?? '', spec.threads);
  const operations = operationsOf(spec);
  const total = sum(fastest);
  const run = layersRun(spec.layers);
  const layers = steps.map(({ layer, kind, tile }, at): LayerTime => {
    const ms = fastest[at] ?? Number.NaN;
    const name = run[layer]?.name ?? 'input';
    const count = operations.get(name) ?? 0;
    const gflops = count === 0 ? null : count / ms / 1e6;
    const of_peak = gflops === null ? null : gflops / peak;
    return { layer: name, kind, tile: tile ?? null, ms, share: ms / total, gflops, of_peak };
  });
  return { isa, peak, layers };
}

function openProfiled(spec: EngineSpec, batch: number) {
  const paths = [...new Set(spec.tensors.map(({ path }) => path))];
  const files = paths.map((path) => ({ fd: openSync(path, 'r'), size: statSync(path).size }));
  const places = new Map(
    spec.tensors.map(({ name, path, byteOffset }): [string, Place] => [name, [paths.indexOf(path), byteOffset]]),
  );
  const place = (tensor: string) => places.get(tensor) ?? ([0, 0] as const);
  const { inputSize, classes, mean, std, threads, precision, isa = 'auto' } = spec;
  const native: NativeSpec = {
    ...{ files, layers: nativeLayers(spec.layers, place), inputSize, classes, mean, std, threads, precision },
    ...{ maxBatchSize: batch, isa: isa === 'auto' ? '' : isa, profile: true },
  };
  try {
    return loadAddon().open(native);
  } finally {
    for (const { fd } of files) closeSync(fd);
  }
}

/** Two for each multiply-add of the direct computation of one picture, by the layer's name. */
function operationsOf(spec: EngineSpec): Map<string, number> {
  return new Map(
    outputShapes(spec, spec.inputSize).map(({ layer, shape }) => [layer.name, 2 * layerMultiplyAdds(layer, shape)]),
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
