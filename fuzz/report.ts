import type { TargetReport } from './watch.js';

export function reportText(
  name: string,
  { inputs, seconds, outcomes, kept, peakBytes, findings }: TargetReport,
): string {
  const rows = Object.entries(outcomes).sort(([, a], [, b]) => b - a);
  return [
    `${name}: ${inputs} inputs in ${seconds.toFixed(1)} s (${Math.round(inputs / seconds)}/s), ${kept} kept, peak ${Math.round(peakBytes / 1e6)} MB`,
    ...rows.map(([outcome, count]) => `  ${String(count).padStart(8)} ${outcome}`),
    ...findings.map(({ finding, path }) => `  FINDING ${finding}\n          ${path}`),
  ].join('\n');
}
