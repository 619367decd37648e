/** The server is killed while its processes are at something: none of them may stay. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isAddonBuilt } from '../src/engines/native/addon.js';
import { probeNative } from '../src/engines/native/probe.js';
import { encodeMessage, type Message } from '../src/engines/protocol.js';
import { tensorFlowPackage } from '../src/engines/tfjs/tensorflow.js';
import { smallPictures, start, temporaryDir, writeSmallModel } from './cli/command.js';
import { randomPixels, tinySpec } from './engines/test-networks.js';
import { until } from './routes/service.js';

const skip = process.platform === 'linux' ? false : 'it reads /proc';

interface Served {
  readonly server: ChildProcess;
  readonly pid: number;
  /** What it has logged. */
  output(): string;
}

function serve(t: TestContext, args: readonly string[], env: NodeJS.ProcessEnv = {}): Served {
  const server = start(args, { PORT: '0', ...env });
  t.after(() => server.kill('SIGKILL'));
  let output = '';
  server.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  return { server, pid: server.pid as number, output: () => output };
}

/** Kills the server, and waits until everything that it had started is gone. */
async function killed({ server, pid }: Served, stopped: readonly number[] = []): Promise<void> {
  const descendants = descendantsOf(pid);
  assert.ok(descendants.length > 0);
  server.kill('SIGKILL');
  await once(server, 'exit');
  for (const child of stopped) process.kill(child, 'SIGCONT');
  await until(() => descendants.every(hasEnded));
}

/** Halts it at whatever it is doing, so that the server is gone before it goes on. */
async function firstChildOf({ pid, output }: Served, args: RegExp): Promise<number> {
  let found: number | undefined;
  await until(() => {
    assert.doesNotMatch(output(), /"model (ready|failed)"/);
    found = descendantsOf(pid).find((child) => args.test(readIfThere(`/proc/${child}/cmdline`)));
    return found !== undefined;
  });
  return found as number;
}

test('kill -9 of a server at rest: its engine ends', { skip }, async (t) => {
  const served = serve(t, ['--model', await writeSmallModel(await temporaryDir(t))]);
  await until(() => served.output().includes('"model ready"'));
  await killed(served);
});

test('kill -9 of a server whose engine has a batch to run: it ends behind that', { skip }, async (t) => {
  const served = serve(t, ['--model', await writeSmallModel(await temporaryDir(t))]);
  await until(() => served.output().includes('"model ready"'));
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(served.output())?.[0] ?? '';
  const [engine] = descendantsOf(served.pid) as [number];
  process.kill(engine, 'SIGSTOP');
  const [{ png } = { png: Buffer.alloc(0) }] = await smallPictures();
  const headers = { 'content-type': 'image/png' };
  const asked = [1, 2].map(() => {
    const body = new Uint8Array(png);
    return assert.rejects(fetch(`${url}/classify`, { method: 'POST', headers, body }));
  });
  // Then the other one has been sent to the engine.
  await until(async () =>
    /^vgg_serve_queue_depth\{model="small"\} 1$/m.test(await (await fetch(`${url}/metrics`)).text()),
  );
  await killed(served, [engine]);
  await Promise.all(asked);
});

test('kill -9 of a server whose engine is starting: it ends behind that', { skip }, async (t) => {
  const served = serve(t, ['--model', await writeSmallModel(await temporaryDir(t))]);
  const engine = await firstChildOf(served, /child\.js/);
  process.kill(engine, 'SIGSTOP');
  await killed(served, [engine]);
});

const bf16 = isAddonBuilt() ? (await probeNative()).bf16 : { why: 'the addon is not built' };

test('kill -9 of a server while a model is compared with fp32: the engine of that ends', {
  skip: skip || ('why' in bf16 && bf16.why),
}, async (t) => {
  const served = serve(t, ['--model', 'fashion-vgg@bf16']);
  const reference = await firstChildOf(served, /child\.js/); // The other one is started when it has ended.
  process.kill(reference, 'SIGSTOP');
  await killed(served, [reference]);
});

test('kill -9 of a server that looks for a GPU: what looks ends', { skip }, async (t) => {
  const dir = await temporaryDir(t);
  const home = join(dir, tensorFlowPackage);
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, 'package.json'), JSON.stringify({ name: tensorFlowPackage, main: 'index.js' }));
  writeFileSync(join(home, 'index.js'), 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);');
  const served = serve(t, ['--model', await writeSmallModel(dir)], { NODE_PATH: dir });
  const probe = await firstChildOf(served, /gpu-probe\.js/);
  process.kill(probe, 'SIGSTOP');
  await killed(served, [probe]);
});

// The program of an engine itself, whose pipe is closed behind a message that it has not read yet.
for (const type of ['load', 'start', 'run'] as const) {
  test(`an engine's process whose server is gone when it gets to "${type}" ends`, { skip }, async (t) => {
    const spec = tinySpec(await temporaryDir(t));
    const messages: Record<typeof type, Message> = {
      load: { type: 'load', engine: 'onnxruntime' },
      start: { type: 'start', spec, warmUpSize: 1 },
      run: { type: 'run', id: 1, n: 2, pixels: randomPixels(2, spec.inputSize) },
    };
    const program = fileURLToPath(new URL('../src/engines/child.js', import.meta.url));
    const child = spawn(process.execPath, [program], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
    t.after(() => child.kill('SIGKILL'));
    const ended = once(child, 'exit');
    const pipe = child.stdio[3] as Duplex;
    const send = (message: Message) =>
      new Promise((resolve) => pipe.write(Buffer.concat(encodeMessage(message)), resolve));
    for (const before of ['load', 'start'] as const) {
      if (before === type) break;
      const answered = once(pipe, 'data');
      await send(messages[before]);
      await answered;
    }
    child.kill('SIGSTOP');
    await send(messages[type]);
    pipe.destroy();
    child.kill('SIGCONT');
    const [, signal] = await ended;
    assert.equal(signal, null);
  });
}

function descendantsOf(pid: number): number[] {
  const children = threadsOf(pid)
    .flatMap((thread) => readIfThere(`/proc/${pid}/task/${thread}/children`).split(' '))
    .filter((word) => word !== '')
    .map(Number);
  return children.flatMap((child) => [child, ...descendantsOf(child)]);
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** Also when nobody has waited for it yet. */
function hasEnded(pid: number): boolean {
  const stat = readIfThere(`/proc/${pid}/stat`);
  return stat === '' || stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
