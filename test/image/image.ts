/**
 * Builds the container image, starts it, classifies a sample, and stops it by SIGTERM.
 *
 *     npm run test:image
 *
 * With Docker or Podman where one runs; else with the program that IMAGE_BUILDER names, which must understand
 * `PROGRAM build DIR TAG` and `PROGRAM run TAG -- COMMAND...` (in the network and process space of this machine).
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const tag = 'vgg-serve:test';
const port = 18080;
const startTimeoutMs = 60_000;

/** A running container. */
interface Container {
  /** Sends SIGTERM to the service and resolves to the exit code of the container. */
  terminate(): Promise<number>;
}

interface ImageTool {
  readonly name: string;
  build(): void;
  start(): Container;
}

function findTool(): ImageTool | undefined {
  const engine = ['docker', 'podman'].find((name) => spawnSync(name, ['info'], { stdio: 'ignore' }).status === 0);
  if (engine !== undefined) return containerEngine(engine);
  const program = process.env.IMAGE_BUILDER;
  return program ? imageBuilder(program) : undefined;
}

function containerEngine(engine: string): ImageTool {
  const container = 'vgg-serve-test';
  return {
    name: engine,
    build: () => void execFileSync(engine, ['build', '-t', tag, root], { stdio: 'inherit' }),
    start() {
      const child = spawn(engine, ['run', '--rm', '--name', container, '-p', `127.0.0.1:${port}:8080`, tag], {
        stdio: 'inherit',
      });
      return {
        terminate: () => ended(child, () => void execFileSync(engine, ['kill', '--signal', 'TERM', container])),
      };
    },
  };
}

function imageBuilder(program: string): ImageTool {
  return {
    name: program,
    build: () => void execFileSync(program, ['build', root, tag], { stdio: 'inherit' }),
    start() {
      const command = ['node', 'dist/src/cli.js', 'serve', '--port', String(port)];
      const child = spawn(program, ['run', tag, '--', ...command], { stdio: 'inherit' });
      return { terminate: () => ended(child, () => process.kill(pidOf(command), 'SIGTERM')) };
    },
  };
}

/** The process of Node itself, not of what started it: the first word of its command line is the path of `node`. */
function pidOf([program = '', ...args]: readonly string[]): number {
  const pid = readdirSync('/proc').find((entry) => {
    if (!/^\d+$/.test(entry)) return false;
    try {
      const [first = '', ...others] = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0').slice(0, -1);
      return basename(first) === program && others.join('\0') === args.join('\0');
    } catch {
      return false; // It ended between the two calls.
    }
  });
  assert(pid !== undefined, `no process runs ${program} ${args.join(' ')}`);
  return Number(pid);
}

async function ended(child: ChildProcess, stop: () => void): Promise<number> {
  const exit = once(child, 'exit');
  stop();
  const [code] = (await exit) as [number];
  return code;
}

async function untilReady(url: string): Promise<void> {
  const giveUpAt = performance.now() + startTimeoutMs;
  while (performance.now() < giveUpAt) {
    const response = await fetch(`${url}/health/ready`).catch(() => undefined);
    if (response?.ok) return;
    await sleep(200);
  }
  throw new Error(`the container was not ready after ${startTimeoutMs} ms`);
}

const tool = findTool();
if (tool === undefined) {
  console.log('SKIPPED: neither Docker nor Podman runs here, and IMAGE_BUILDER names no program');
} else {
  console.log(`building ${tag} with ${tool.name}`);
  tool.build();
  const container = tool.start();
  let code: number;
  try {
    const url = `http://127.0.0.1:${port}`;
    await untilReady(url);
    const body = new FormData();
    const sample = await readFile(`${root}models/fashion-vgg/samples/ankle-boot.png`);
    body.append('image', new Blob([new Uint8Array(sample)]), 'ankle-boot.png');
    const response = await fetch(`${url}/classify`, { method: 'POST', body });
    const answer = (await response.json()) as { results: { predictions: { label: string }[] }[] };
    assert.equal(response.status, 200, JSON.stringify(answer));
    assert.equal(answer.results[0]?.predictions[0]?.label, 'Ankle boot');
    console.log('classified ankle-boot.png: Ankle boot');
  } finally {
    code = await container.terminate();
  }
  assert.equal(code, 0, 'the exit code after SIGTERM');
  console.log('SIGTERM: exit code 0');
}
