/**
 * A program for bench/overload.ts, in a process of its own: sends one request again and again over many kept connections,
 * either as fast as answers come (a closed loop) or at a rate that does not care for answers (an open loop). It writes bytes
 * that were put together once and reads no more of an answer than its status and its end.
 */
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { percentiles } from './machine.js';

export interface StormOrder {
  readonly url: string;
  readonly contentType: string;
  readonly picture: string;
  readonly connections: number;
  /** Requests a second; 0: a closed loop. */
  readonly rate: number;
  /** Before anything is counted. */
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

/** Latencies are milliseconds. */
export interface StormResult {
  readonly seconds: number;
  readonly sent: number;
  /** Due by the rate, and not sent because no connection was free. */
  readonly unsent: number;
  /** By status; 0: the connection ended first. */
  readonly answers: Readonly<Record<number, number>>;
  /** Answers of status 200 a second. */
  readonly acceptedPerSecond: number;
  readonly accepted: { readonly p50: number; readonly p99: number };
  readonly refused: { readonly p50: number; readonly p99: number };
  /** What this program itself took of the machine. */
  readonly cpuSeconds: number;
}

export type StormMessage = { readonly kind: 'measuring' } | { readonly kind: 'done'; readonly result: StormResult };

const headEnd = Buffer.from('\r\n\r\n');

class Connection {
  readonly #onAnswer: (connection: Connection, status: number, ms: number) => void;
  readonly #url: URL;
  #socket: Socket | undefined;
  #sentAt = 0;
  #status = 0;
  /** Bytes of the answer that are still to come; undefined before its head is whole. */
  #left: number | undefined;
  #head: Buffer = Buffer.alloc(0);

  constructor(url: URL, onAnswer: (connection: Connection, status: number, ms: number) => void) {
    this.#url = url;
    this.#onAnswer = onAnswer;
  }

  send(request: Buffer): void {
    this.#sentAt = performance.now();
    this.#socket ??= this.#open();
    this.#socket.write(request);
  }

  end(): void {
    this.#sentAt = 0;
    this.#socket?.destroy();
  }

  #open(): Socket {
    const socket = connect({ host: this.#url.hostname, port: Number(this.#url.port), noDelay: true });
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#socket = undefined;
      if (this.#sentAt > 0) this.#finish(0);
    });
    return socket;
  }

  #read(chunk: Buffer): void {
    if (this.#left === undefined) {
      this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
      const end = this.#head.indexOf(headEnd);
      if (end < 0) return;
      const head = this.#head.toString('latin1', 0, end);
      this.#status = Number(head.slice(9, 12));
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1]);
      this.#left = length - (this.#head.length - end - headEnd.length);
    } else {
      this.#left -= chunk.length;
    }
    if (this.#left > 0) return;
    this.#finish(this.#status);
  }

  #finish(status: number): void {
    const ms = performance.now() - this.#sentAt;
    this.#sentAt = 0;
    this.#left = undefined;
    this.#head = Buffer.alloc(0);
    this.#onAnswer(this, status, ms);
  }
}

async function storm(order: StormOrder, onMeasuring: () => void): Promise<StormResult> {
  const url = new URL(order.url);
  const body = await readFile(order.picture);
  const head = `POST ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Type: ${order.contentType}\r\nContent-Length: ${body.length}\r\n\r\n`;
  const request = Buffer.concat([Buffer.from(head), body]);

  const free: Connection[] = [];
  const answers: Record<number, number> = {};
  const latencies: { accepted: number[]; refused: number[] } = { accepted: [], refused: [] };
  const acceptedAt: number[] = [];
  let [sent, unsent, measuring, ended] = [0, 0, false, false];
  const send = (connection: Connection) => {
    if (measuring) sent++;
    connection.send(request);
  };
  const onAnswer = (connection: Connection, status: number, ms: number) => {
    if (ended) return;
    if (measuring) {
      answers[status] = (answers[status] ?? 0) + 1;
      if (status === 200) {
        latencies.accepted.push(ms);
        acceptedAt.push(performance.now());
      } else if (status === 503) latencies.refused.push(ms);
    }
    if (order.rate === 0) send(connection);
    else free.push(connection);
  };
  const connections = Array.from({ length: order.connections }, () => new Connection(url, onAnswer));
  if (order.rate === 0) for (const connection of connections) send(connection);
  else free.push(...connections);

  const startedAt = performance.now();
  let due = 0;
  const pace = setInterval(() => {
    if (order.rate === 0) return;
    const target = ((performance.now() - startedAt) / 1000) * order.rate;
    for (; due < target; due++) {
      const connection = free.pop();
      if (connection) send(connection);
      else if (measuring) unsent++;
    }
  }, 1);
  await new Promise((resolve) => setTimeout(resolve, order.warmUpSeconds * 1000));
  const [from, cpuFrom] = [performance.now(), process.cpuUsage()];
  measuring = true;
  onMeasuring();
  await new Promise((resolve) => setTimeout(resolve, order.seconds * 1000));
  ended = true;
  const { user, system } = process.cpuUsage(cpuFrom);
  const seconds = (performance.now() - from) / 1000;
  clearInterval(pace);
  for (const connection of connections) connection.end();
  const summary = (ms: number[]) => {
    const [p50 = Number.NaN, p99 = Number.NaN] = percentiles(ms, [0.5, 0.99]);
    return { p50, p99 };
  };
  return {
    ...{ seconds, sent, unsent, answers },
    acceptedPerSecond: rateOf(acceptedAt),
    accepted: summary(latencies.accepted),
    refused: summary(latencies.refused),
    cpuSeconds: (user + system) / 1e6,
  };
}

/**
 * Answers come a batch at a time: a count over a window is wrong by up to a batch, which is 3 % of what VGG-16 answers in
 * 15 s, and the best of several such counts is too high. The slope of the line through all answers is not.
 * @param at of each answer, in milliseconds, ascending
 */
function rateOf(at: readonly number[]): number {
  const mean = at.reduce((sum, ms) => sum + ms, 0) / at.length;
  const middle = (at.length - 1) / 2;
  let [together, spread] = [0, 0];
  for (const [index, ms] of at.entries()) {
    together += (ms - mean) * (index - middle);
    spread += (ms - mean) ** 2;
  }
  return (1000 * together) / spread;
}

process.on('message', async (order: StormOrder) => {
  const tell = (message: StormMessage) => process.send?.(message);
  const result = await storm(order, () => tell({ kind: 'measuring' }));
  tell({ kind: 'done', result });
  process.disconnect();
});
