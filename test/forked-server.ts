import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { TestContext } from 'node:test';
import { until } from './routes/service.js';

/** The server with a model of colours in a process of its own. */
export interface ForkedServer {
  readonly child: ChildProcess;
  readonly url: string;
  readonly port: number;
  readonly exitCode: Promise<number | null>;
  /** The lines that it has logged. */
  log(): LogLine[];
  /** Until a line of its log says this. */
  logged(msg: string): Promise<LogLine>;
  message(word: string): Promise<void>;
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [name: string]: unknown;
}

interface ForkOptions {
  readonly manifest: string;
  readonly options?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Whether to wait until it is. */
  readonly ready?: boolean;
}

/** Runs held-server.ts. It is killed at the end of the test. */
export async function forkServer(
  t: TestContext,
  { manifest, options = [], env = {}, ready = true }: ForkOptions,
): Promise<ForkedServer> {
  const program = new URL('./held-server.js', import.meta.url);
  const child = fork(program, [manifest, ...options], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'], env });
  t.after(() => child.kill('SIGKILL'));
  const messages: unknown[] = [];
  child.on('message', (word) => messages.push(word));
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const log = () =>
    output
      .split('\n')
      .slice(0, -1) // The last one may not be whole.
      .map((line) => JSON.parse(line) as LogLine);
  const exitCode = once(child, 'close').then(([code]) => code as number | null);
  await until(() => messages.length > 0);
  const url = String(messages[0]);
  if (ready) await until(async () => (await fetch(`${url}/health/ready`)).ok);
  return {
    child,
    url,
    port: Number(new URL(url).port),
    exitCode,
    log,
    async logged(msg) {
      await until(() => log().some((line) => line.msg === msg));
      return log().find((line) => line.msg === msg) as LogLine;
    },
    message: (word) => until(() => messages.includes(word)),
  };
}

/** Whether a new connection is refused. */
export async function refuses(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const refused = await new Promise<boolean>((resolve) => {
    socket.on('connect', () => resolve(false)).on('error', () => resolve(true));
  });
  socket.destroy();
  return refused;
}
