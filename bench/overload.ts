/**
 * What becomes of the service when far more is asked of it than it can do: its best throughput, the latency while its queue
 * is full, and both again while ten times as many requests come as it can answer.
 *
 *     npm run bench:overload -- [--model fashion-vgg|vgg16=FILE] [--seconds 10] [--factor 10] [--json] [--check]
 *
 * With --check it ends with 1 unless the accepted requests a second are at least 90 % of the best, and their p99 under twice
 * that of the full queue. The requests come from a process of their own, which runs on the same CPUs as the service: about
 * one of them at 30,000 requests a second. Where the rate that was asked for is not reached, the table says which was.
 */
import { fork } from 'node:child_process';
import { parseArgs } from 'node:util';
import { machineLines } from './machine.js';
import type { StormMessage, StormOrder, StormResult } from './request-storm.js';
import { type Service, startService } from './service.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'fashion-vgg' },
    picture: { type: 'string' },
    seconds: { type: 'string', default: '10' },
    factor: { type: 'string', default: '10' },
    connections: { type: 'string', default: '16,32,64' },
    queue: { type: 'string', default: '256' },
    sockets: { type: 'string', default: '1024' },
    flags: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);
const queue = Number(values.queue);
const isSmall = values.model === 'fashion-vgg';
const picture =
  values.picture ?? (isSmall ? 'models/fashion-vgg/samples/ankle-boot.png' : 'test/fixtures/images/rocket.jpg');
const contentType = picture.endsWith('.png') ? 'image/png' : 'image/jpeg';

/** One phase, as the clients and the service saw it. */
interface Phase {
  readonly what: string;
  readonly storm: StormResult;
  readonly acceptedPerSecond: number;
  readonly refusedPerSecond: number;
  /** Of the service's own process, without the engine's. */
  readonly serverCpuSeconds: number;
}

const flags = ['--model', values.model, '--max-queue', values.queue, ...values.flags.split(' ').filter(Boolean)];
const service = await startService(flags);
try {
  await run(service);
} finally {
  await service.stop();
}

async function run({ url }: Service): Promise<void> {
  const order = { url: `${url}/classify`, contentType, picture, seconds };
  const capacity: Phase[] = [];
  for (const connections of values.connections.split(',').map(Number)) {
    capacity.push(await phase(`closed loop, ${connections}`, { ...order, connections, rate: 0, warmUpSeconds: 2 }));
  }
  const best = capacity.reduce((a, b) => (a.acceptedPerSecond > b.acceptedPerSecond ? a : b));
  // Until the queue is full and those have been answered that found it shorter.
  const warmUpSeconds = Math.ceil(2 + (1.5 * queue) / best.acceptedPerSecond);
  const full = await phase(`full queue, ${queue}`, { ...order, connections: queue, rate: 0, warmUpSeconds });
  const rate = Math.round(Number(values.factor) * best.acceptedPerSecond);
  const over = await phase(`open loop, ${rate}/s`, {
    ...{ ...order, rate, warmUpSeconds },
    connections: Number(values.sockets),
  });
  report([...capacity, full, over], best, full, over);
}

async function phase(what: string, order: StormOrder): Promise<Phase> {
  const child = fork(new URL('./request-storm.js', import.meta.url), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
  });
  let cpuBefore = Promise.resolve(Number.NaN);
  const storm = await new Promise<StormResult>((resolve, reject) => {
    child.on('message', (message: StormMessage) => {
      if (message.kind === 'measuring') cpuBefore = serverCpu();
      else resolve(message.result);
    });
    child.on('exit', (code) => reject(new Error(`the sender of the requests ended with ${code}`)));
    child.send(order);
  });
  const serverCpuSeconds = (await serverCpu()) - (await cpuBefore);
  const of = (status: number) => (storm.answers[status] ?? 0) / storm.seconds;
  return { what, storm, acceptedPerSecond: storm.acceptedPerSecond, refusedPerSecond: of(503), serverCpuSeconds };
}

async function serverCpu(): Promise<number> {
  const text = await (await fetch(new URL('/metrics', service.url))).text();
  return Number(/^process_cpu_seconds_total (\S+)$/m.exec(text)?.[1]);
}

function report(phases: readonly Phase[], best: Phase, full: Phase, over: Phase): void {
  const ratio = over.acceptedPerSecond / best.acceptedPerSecond;
  const p99Ratio = over.storm.accepted.p99 / full.storm.accepted.p99;
  const cpuPerAccepted = full.serverCpuSeconds / (full.acceptedPerSecond * full.storm.seconds);
  const acceptedOver = over.acceptedPerSecond * over.storm.seconds;
  const refusedOver = over.refusedPerSecond * over.storm.seconds;
  const usPerRefusal = (1e6 * (over.serverCpuSeconds - acceptedOver * cpuPerAccepted)) / refusedOver;
  const others = Object.entries(over.storm.answers).filter(([status]) => status !== '200' && status !== '503');
  const missed = [
    ...(ratio >= 0.9 ? [] : [`accepted/best is ${ratio.toFixed(2)}, not 0.90`]),
    ...(p99Ratio < 2 ? [] : [`the p99 is ${p99Ratio.toFixed(2)} times that of a full queue, not under 2`]),
    ...others.map(([status, n]) => `${n} answers of status ${status}`),
  ];
  if (values.json) {
    console.log(
      JSON.stringify({
        model: values.model,
        best_per_second: rounded(best.acceptedPerSecond),
        full_queue_p99_ms: rounded(full.storm.accepted.p99),
        offered_per_second: rounded(over.storm.sent / over.storm.seconds),
        asked_per_second: rounded((over.storm.sent + over.storm.unsent) / over.storm.seconds),
        accepted_per_second: rounded(over.acceptedPerSecond),
        refused_per_second: rounded(over.refusedPerSecond),
        accepted_to_best: rounded(ratio, 3),
        accepted_p50_ms: rounded(over.storm.accepted.p50),
        accepted_p99_ms: rounded(over.storm.accepted.p99),
        p99_to_full_queue: rounded(p99Ratio, 3),
        refused_p99_ms: rounded(over.storm.refused.p99),
        server_us_per_refusal: rounded(usPerRefusal),
        sender_cpus: rounded(over.storm.cpuSeconds / over.storm.seconds, 2),
        missed,
      }),
    );
  } else {
    console.log(machineLines(['fastify']));
    console.log(`${values.model}, ${picture}, raw body, kept connections, ${seconds} s a row, queue of ${queue}\n`);
    console.log(
      '| what | offered/s | accepted/s | refused/s | other/s | p50 ms | p99 ms | refused p99 ms | CPUs of the service without its engine | CPUs of the sender |',
    );
    console.log('|---|---|---|---|---|---|---|---|---|---|');
    for (const { what, storm, acceptedPerSecond, refusedPerSecond, serverCpuSeconds } of phases) {
      const answered = Object.values(storm.answers).reduce((a, b) => a + b, 0) / storm.seconds;
      const cells = [
        ...[storm.sent / storm.seconds, acceptedPerSecond, refusedPerSecond].map((n) => n.toFixed(n < 100 ? 1 : 0)),
        (answered - acceptedPerSecond - refusedPerSecond).toFixed(0),
        ...[storm.accepted.p50, storm.accepted.p99, storm.refused.p99].map((ms) => ms.toFixed(1)),
        ...[serverCpuSeconds / storm.seconds, storm.cpuSeconds / storm.seconds].map((n) => n.toFixed(2)),
      ];
      console.log(`| ${what} | ${cells.join(' | ')} |`);
    }
    console.log(
      `\naccepted / best = ${ratio.toFixed(3)} (at least 0.9); p99 / p99 of the full queue = ${p99Ratio.toFixed(2)} (under 2); ` +
        `a refusal takes ${usPerRefusal.toFixed(0)} us of the service's CPU`,
    );
    for (const line of missed) console.log(`missed: ${line}`);
  }
  if (values.check && missed.length > 0) process.exitCode = 1;
}

function rounded(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}
