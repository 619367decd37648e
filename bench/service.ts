import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export interface Service {
  readonly url: string;
  readonly pid: number;
  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number | null>;
}

/**
 * The service in a process of its own, as a user starts it. Resolves when it is ready.
 * @param env what its environment has besides this process's own
 * @param program that takes the flags
 * @param port to listen on; without one, a free one
 */
export async function startService(
  flags: readonly string[],
  env: NodeJS.ProcessEnv = {},
  program = new URL('../src/cli.js', import.meta.url),
  port?: number,
): Promise<Service> {
  port ??= await freePort();
  const child = spawn(process.execPath, [fileURLToPath(program), 'serve', '--port', String(port), ...flags], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...env },
  });
  const url = `http://127.0.0.1:${port}`;
  await untilReady(url, child);
  return {
    url,
    pid: child.pid ?? Number.NaN,
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      return child.exitCode;
    },
  };
}

async function untilReady(url: string, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the service ended with ${child.exitCode} before it was ready`);
    const response = await fetch(`${url}/health/ready`).catch(() => undefined);
    if (response?.ok) return;
    await sleep(50);
  }
}

/** A port of the loopback address that nobody listens on by now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}
