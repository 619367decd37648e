import { machineLines } from '../machine.js';
import { megabytes } from '../memory.js';
import type { ModelName, Server } from './servers.js';
import type { Load } from './wrk.js';

/** Of one server: its loads by number of connections, one for each round. */
export interface Seen {
  readonly loads: Map<number, Load[]>;
  /** Bytes. */
  peakPss: number;
}

/** The names are those of the JSON. */
export interface Row {
  readonly server: string;
  readonly model: ModelName;
  readonly connections: number;
  readonly requests: number;
  readonly errors: number;
  readonly requests_per_s: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly p99_ms: number;
  /** Requests per second, of the best peer's; null when no peer was measured. */
  readonly of_best_peer: number | null;
  /** The 99th percentile, of the best peer's. */
  readonly p99_of_best_peer: number | null;
  readonly peak_pss_mb: number;
}

/** All servers at one number of connections. */
export function rowsOf(seen: ReadonlyMap<Server, Seen>, count: number, model: ModelName): Row[] {
  const totals = [...seen].map(([server, { loads, peakPss }]) => {
    const rounds = loads.get(count) ?? [];
    const sum = (of: (one: Load) => number) => rounds.reduce((total, one) => total + of(one), 0);
    const mean = (of: (one: Load) => number) => sum(of) / rounds.length;
    const errors = sum(({ notOk, failed }) => notOk + failed);
    const rate = sum(({ requests, notOk }) => requests - notOk) / sum(({ seconds }) => seconds);
    return { server, peakPss, requests: sum(({ requests }) => requests), errors, rate, mean };
  });
  const [best] = totals.filter(({ server }) => !server.isOurs).sort((a, b) => b.rate - a.rate);
  const p99 = (row: (typeof totals)[number]) => row.mean(({ p99Ms }) => p99Ms);
  return totals.map((row) => {
    const { server, peakPss, requests, errors, rate, mean } = row;
    return {
      server: server.name,
      model,
      connections: count,
      requests,
      errors,
      requests_per_s: Number(rate.toFixed(2)),
      p50_ms: Number(mean(({ p50Ms }) => p50Ms).toFixed(1)),
      p95_ms: Number(mean(({ p95Ms }) => p95Ms).toFixed(1)),
      p99_ms: Number(p99(row).toFixed(1)),
      of_best_peer: best ? Number((rate / best.rate).toFixed(2)) : null,
      p99_of_best_peer: best ? Number((p99(row) / p99(best)).toFixed(2)) : null,
      peak_pss_mb: Number(megabytes(peakPss)),
    };
  });
}

/** @param what was measured */
export function table(rows: readonly Row[], what: string): string {
  return [
    machineLines(['fastify', 'sharp']),
    `${what}; raw body, keep-alive, closed loop; ms\n`,
    "| server | connections | requests | errors | req/s | p50 | p95 | p99 | req/s of the best peer's | p99 of its | peak PSS, MB |",
    '|---|---|---|---|---|---|---|---|---|---|---|',
    ...rows.map(asTableRow),
  ].join('\n');
}

function asTableRow(row: Row): string {
  const { server, connections, requests, errors, requests_per_s, p50_ms, p95_ms, p99_ms } = row;
  const cells = [server, connections, requests, errors, requests_per_s, p50_ms, p95_ms, p99_ms];
  return `| ${[...cells, row.of_best_peer ?? '', row.p99_of_best_peer ?? '', row.peak_pss_mb].join(' | ')} |`;
}
