import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { outcomeOf, troubleInLog } from './answer.js';
import { Finding, type Outcome } from './finding.js';
import { cpuSeconds, peakBytes } from './processes.js';

/** So long the client waits for more after it has sent all, before it ends its side. No finding hangs on it. */
const quietMs = 40;
/** The server must have ended a connection by then whose client has. Of the wall clock, so it is large. */
const mostWaitMs = 60_000;
const mostCpuSeconds = 5;
const lastLines = 12;

export interface OverSocket {
  /**
   * Sends each input on a connection of its own, all at once.
   * @returns for each its outcome, or the Finding of it; where one is to be found among several, that of all
   */
  send(inputs: readonly Buffer[]): Promise<(Outcome | Finding)[]>;
  /** Of the server's process, after a collection of garbage. */
  memoryBytes(): Promise<number>;
  peakBytes(): number;
  close(): Promise<void>;
}

/** The real server in a process of its own, with the embedded model, listening. It is started again when it dies. */
export async function openOverSocket(): Promise<OverSocket> {
  let server = await startServer();
  let peak = 0;

  /** What is wrong with the server itself after these inputs, not with an answer. */
  async function sendAll(
    inputs: readonly Buffer[],
  ): Promise<{ outcomes: (Outcome | Finding)[]; trouble: string | undefined }> {
    if (server.died() !== undefined) server = await startServer();
    const cpuBefore = cpuSeconds(server.child.pid);
    const outcomes = await Promise.all(inputs.map((input) => converse(server.port, input).catch(asFinding)));
    const died = (await server.settle()) ?? server.died();
    const spent = cpuSeconds(server.child.pid) - cpuBefore;
    if (died === undefined) peak = Math.max(peak, peakBytes(server.child.pid));
    const [logged] = server.trouble.splice(0);
    const slow = spent > mostCpuSeconds ? `more than ${mostCpuSeconds} s of CPU time` : undefined;
    return { outcomes, trouble: died ?? logged ?? slow };
  }

  return {
    async send(inputs) {
      const { outcomes, trouble } = await sendAll(inputs);
      if (trouble === undefined) return outcomes;
      if (inputs.length === 1) return [new Finding(trouble)];
      const alone: (Outcome | Finding)[] = [];
      for (const input of inputs) {
        const { outcomes: own, trouble: ownTrouble } = await sendAll([input]);
        alone.push(ownTrouble === undefined ? (own[0] as Outcome | Finding) : new Finding(ownTrouble));
      }
      if (alone.some((outcome) => outcome instanceof Finding)) return alone;
      return inputs.map(() => new Finding(`only together with others: ${trouble}`));
    },
    async memoryBytes() {
      const answer = once(server.child, 'message');
      server.child.send('memory');
      const [{ bytes }] = (await answer) as [{ bytes: number }];
      return bytes;
    },
    peakBytes: () => peak,
    async close() {
      server.child.disconnect();
      await server.ended;
    },
  };
}

interface Server {
  readonly child: ChildProcess;
  readonly port: number;
  readonly ended: Promise<unknown>;
  readonly trouble: string[];
  /** How it ended, if it did. */
  died(): string | undefined;
  /** Waits until the server answers and has logged what came before. @returns what is wrong if it does not */
  settle(): Promise<string | undefined>;
}

async function startServer(): Promise<Server> {
  const child = fork(fileURLToPath(new URL('./server-process.js', import.meta.url)), {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const trouble: string[] = [];
  const said: string[] = [];
  const ended = once(child, 'exit');
  let marker = { id: '', seen: () => {} };
  let count = 0;
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error('the server has no pipes');
  createInterface({ input: stdout }).on('line', (line) => {
    const seen = troubleInLog(line);
    if (seen !== undefined) trouble.push(seen);
    if (line.includes(`"request_id":"${marker.id}"`)) marker.seen();
  });
  createInterface({ input: stderr }).on('line', (line) => {
    said.push(line);
    said.splice(0, said.length - lastLines);
  });
  const ready = once(child, 'message').then(([message]) => message as { url: string });
  const first = await Promise.race([ready, ended]);
  if (!('url' in first)) throw new Error(`the server ended before it was ready:\n${said.join('\n')}`);
  const { url } = first;
  const died = () => {
    if (child.exitCode === null && child.signalCode === null) return undefined;
    return `the server ended (${child.signalCode ?? child.exitCode}): ${said.find((line) => /error/i.test(line)) ?? ''}`.trim();
  };
  return {
    child,
    port: Number(new URL(url).port),
    ended,
    trouble,
    died,
    async settle() {
      const id = `fuzz-${++count}`;
      const logged = new Promise<void>((seen) => (marker = { id, seen }));
      try {
        const signal = AbortSignal.timeout(mostWaitMs);
        const response = await fetch(`${url}/health/ready`, {
          headers: { 'x-request-id': id, connection: 'close' },
          signal,
        });
        await response.text();
        if (!response.ok) return `not ready any more: ${response.status}`;
        const late = new Promise<string>((resolve) => {
          signal.addEventListener('abort', () => resolve('a line is not logged that should be'));
        });
        const first = await Promise.race([logged, ended, late]);
        return typeof first === 'string' ? first : died();
      } catch (error) {
        // The process's end may be told after that of its sockets.
        if (!(error instanceof DOMException))
          await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 2000))]);
        return died() ?? `the server does not answer: ${(error as Error).name}`;
      }
    },
  };
}

function asFinding(error: unknown): Finding {
  if (error instanceof Finding) return error;
  throw error;
}

/** Sends bytes and reads what comes back until the server ends the connection. @throws Finding */
async function converse(port: number, bytes: Buffer): Promise<Outcome> {
  const received = await new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const tooLate = setTimeout(() => {
      socket.destroy();
      reject(new Finding(`a connection is still open ${mostWaitMs / 1000} s after its client has ended`));
    }, mostWaitMs);
    const endWhenQuiet = setTimeout(() => socket.end(), quietMs);
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      endWhenQuiet.refresh();
    });
    socket.on('drain', () => endWhenQuiet.refresh());
    socket.on('end', () => socket.end());
    socket.on('error', () => {}); // A reset: the server had no use for the rest.
    socket.on('close', () => {
      clearTimeout(tooLate);
      clearTimeout(endWhenQuiet);
      resolve(Buffer.concat(chunks));
    });
    socket.write(bytes);
  });
  return outcomeOfBytes(received);
}

/** Of a connection with several answers the outcome is that of the last. @throws Finding */
export function outcomeOfBytes(received: Buffer): Outcome {
  let outcome: Outcome = { name: 'no answer', shape: 'no answer' };
  const shapes: string[] = [];
  for (let at = 0; at < received.length; ) {
    const headEnd = received.indexOf('\r\n\r\n', at);
    const head = received.toString('latin1', at, headEnd < 0 ? received.length : headEnd);
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]);
    if (Number.isNaN(status)) throw new Finding(`an answer that is none of HTTP: ${JSON.stringify(head.slice(0, 40))}`);
    if (headEnd < 0) break; // Cut off, as this side ended.
    const { body, next } = bodyOf(received, headEnd + 4, head);
    at = next;
    if (status < 200) continue;
    const contentType = /^content-type: (.*)$/im.exec(head)?.[1];
    if (body === undefined) break;
    outcome = outcomeOf({ status, contentType, body, bodiless: body === '' });
    shapes.push(outcome.shape);
  }
  return { name: outcome.name, shape: shapes.slice(-3).join('|') };
}

/** What follows a head. An answer to HEAD has a length and no body, so the next answer may stand there. */
function bodyOf(bytes: Buffer, start: number, head: string): { body: string | undefined; next: number } {
  if (start === bytes.length || bytes.toString('latin1', start, start + 9) === 'HTTP/1.1 ')
    return { body: '', next: start };
  const length = /^content-length: (\d+)$/im.exec(head)?.[1];
  if (length === undefined && !/^transfer-encoding: chunked$/im.test(head)) return { body: '', next: start };
  if (length === undefined) return chunkedBody(bytes, start);
  const end = start + Number(length);
  return { body: end > bytes.length ? undefined : bytes.toString('utf8', start, end), next: end };
}

function chunkedBody(bytes: Buffer, start: number): { body: string | undefined; next: number } {
  const chunks: Buffer[] = [];
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (lineEnd < 0 || Number.isNaN(size)) return { body: undefined, next: bytes.length };
    if (size === 0) return { body: Buffer.concat(chunks).toString(), next: lineEnd + 4 };
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}
