import type { LossKind } from './engines/child-handle.js';
import type { Metrics } from './metrics.js';
import type { ModelState, RegistryObserver } from './model-registry/observer.js';

const lossKinds: readonly LossKind[] = ['killed', 'exited', 'hung', 'garbage'];
const states: readonly ModelState[] = ['unloaded', 'loading', 'ready', 'failed'];

/** Turns what the registry tells into metrics. */
export function registryMetrics(metrics: Metrics): RegistryObserver {
  /** Takes back what was said of a model's last load. */
  const forget = new Map<string, () => void>();
  return {
    stateChanged(model, current) {
      if (current !== 'ready') forget.get(model)?.(); // `loaded` comes just before `ready`.
      for (const state of states) metrics.modelState.set({ model, state }, state === current ? 1 : 0);
      // The series begin at 0, so that a rate sees the first restart.
      for (const reason of lossKinds) metrics.engineRestarts.inc({ model, reason }, 0);
      metrics.engineUp.inc({ model }, 0);
    },
    // No gauge: /health/ready tells how far a load is, and a scrape every 15 s would miss most of it.
    loadProgress: () => {},
    loaded(model, { engine, version, device, deviceName = '', precision, isa = '' }, times, agreement) {
      const info = { model, engine, engine_version: version, device, device_name: deviceName, precision, isa };
      metrics.modelInfo.set(info, 1);
      if (agreement !== undefined && 'top1' in agreement) {
        const { top1, largest_probability_difference: difference } = agreement;
        if (top1 !== null) metrics.agreement.set({ model }, top1);
        if (difference !== null) metrics.probabilityDifference.set({ model }, difference);
      }
      forget.set(model, () => {
        metrics.modelInfo.remove(info);
        metrics.agreement.remove({ model });
        metrics.probabilityDifference.remove({ model });
      });
      metrics.loadDuration.set({ model }, times.total / 1000);
    },
    queueDepth: (model, pictures) => metrics.queueDepth.set({ model }, pictures),
    queueWait: (model, waitMs) => metrics.queueWait.observe({ model }, waitMs / 1000),
    batch(model, { size, computeMs }) {
      metrics.batchSize.observe({ model }, size);
      metrics.compute.observe({ model }, computeMs / 1000);
    },
  };
}
