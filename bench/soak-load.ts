/**
 * The clients of soak.ts, in a process of their own. It is told `{url, connections, seconds}` for a closed loop, which
 * answers how many requests it made a second, or `{url, rate, seconds}` for fixed times of arrival. Of the second it tells
 * every five seconds what was answered (SoakReport), and at the end "done".
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Connection } from './connection.js';
import { type Deed, soakDeeds } from './soak-requests.js';

export type SoakOrder = { readonly url: string; readonly seconds: number } & (
  | { readonly connections: number }
  | { readonly rate: number }
);

export interface SoakReport {
  /** From the time at which each request was due, in ms; of those that were waited for. */
  readonly latencies: readonly number[];
  readonly statuses: Readonly<Record<string, number>>;
  /** Answers with another status than the first one to the same request. */
  readonly changed: number;
  /** Connections that broke before the answer. */
  readonly broken: number;
  readonly left: number;
}

const root = fileURLToPath(new URL('../../', import.meta.url));
const reportEveryMs = 5_000;
/** More are not opened: what is due then waits, as its latency shows. */
const mostConnections = 512;

/** The status that each request was first answered with. */
const first = new Map<Deed, number>();
const idle: Connection[] = [];
let open = 0;
let report = emptyReport();

process.on('message', (order: SoakOrder) => void run(order));
process.on('disconnect', () => process.exit());

async function run(order: SoakOrder): Promise<void> {
  const url = new URL('/classify', order.url);
  const deeds = await soakDeeds(url, root);
  if ('connections' in order) await closedLoop(url, deeds, order.connections, order.seconds);
  else await openLoop(url, deeds, order.rate, order.seconds);
  for (const connection of idle.splice(0)) connection.destroy();
  open = 0;
  process.send?.('done');
}

async function closedLoop(url: URL, deeds: readonly Deed[], connections: number, seconds: number): Promise<void> {
  const startedAt = performance.now();
  let requests = 0;
  const client = async () => {
    while (performance.now() - startedAt < seconds * 1000) await perform(url, deeds[requests++ % deeds.length] as Deed);
  };
  await Promise.all(Array.from({ length: connections }, client));
  process.send?.({ perSecond: (requests / (performance.now() - startedAt)) * 1000 });
}

async function openLoop(url: URL, deeds: readonly Deed[], rate: number, seconds: number): Promise<void> {
  const startedAt = performance.now();
  const underWay = new Set<Promise<void>>();
  const timer = setInterval(sendReport, reportEveryMs);
  for (let at = 0; at < rate * seconds; ) {
    const dueAt = startedAt + (at * 1000) / rate;
    const wait = dueAt - performance.now();
    if (wait > 0) await sleep(wait);
    while (open >= mostConnections && idle.length === 0) await sleep(1);
    const doing = perform(url, deeds[at++ % deeds.length] as Deed, dueAt).finally(() => underWay.delete(doing));
    underWay.add(doing);
  }
  await Promise.all(underWay);
  clearInterval(timer);
  sendReport();
}

/** @param dueAt without it, the answer is not reported */
async function perform(url: URL, deed: Deed, dueAt?: number): Promise<void> {
  try {
    const connection = idle.pop() ?? (await opened(url));
    if (deed.leaves) {
      connection.send(deed.bytes);
      setImmediate(() => close(connection));
      report.left++;
      return;
    }
    const { status } = await connection.exchange(deed.bytes);
    if (connection.isOpen) idle.push(connection);
    else close(connection);
    if (!first.has(deed)) first.set(deed, status);
    if (dueAt === undefined) return;
    report.latencies.push(performance.now() - dueAt);
    report.statuses[status] = (report.statuses[status] ?? 0) + 1;
    if (first.get(deed) !== status) report.changed++;
  } catch {
    open--;
    report.broken++;
  }
}

async function opened(url: URL): Promise<Connection> {
  open++;
  return await Connection.open(url);
}

function close(connection: Connection): void {
  connection.destroy();
  open--;
}

function sendReport(): void {
  process.send?.(report satisfies SoakReport);
  report = emptyReport();
}

function emptyReport() {
  return { latencies: [] as number[], statuses: {} as Record<string, number>, changed: 0, broken: 0, left: 0 };
}
