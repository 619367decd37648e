import { buildCommand } from '../../addon-file.js';
import type { Layer } from '../../network/layer.js';
import type { EngineSpec, PlanStep } from '../engine.js';
import { layersRun } from './layers.js';

/** As the addon tells it. */
interface Plan {
  readonly precision?: string;
  /** `layer`: index into what open() was given, or -1. */
  readonly layers: readonly { readonly layer: number; readonly kind: string; readonly tile?: number }[];
}

/**
 * The steps of a run with torch's names in place of the addon's indices.
 * @param json what `about()` of the addon tells
 * @throws Error when the addon computes in another precision than was asked for
 */
export function readPlan(json: string, { layers, precision }: Pick<EngineSpec, 'layers' | 'precision'>): PlanStep[] {
  // An addon that says no precision knew fp32 alone, and took no notice of another one.
  const { precision: computedIn = 'fp32', layers: steps } = JSON.parse(json) as Plan;
  if (computedIn !== precision) {
    throw new Error(
      `The native engine that is built here computes in ${computedIn}, not in ${precision}: it is older than the ` +
        `service. Build it again (${buildCommand}).`,
    );
  }
  const run: readonly Layer[] = layersRun(layers);
  return steps.map((step) => ({ ...step, layer: run[step.layer]?.name ?? null }));
}
