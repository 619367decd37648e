import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../service.js';
import { writeStandIn } from '../stand-in.js';
import { type Answer, parseAnswer } from './answer.js';
import { ProcessTree } from './process-tree.js';
import type { ModelName, Server, Start } from './servers.js';

const startTimeoutMs = 120_000;

/** What is posted to a network. */
export const pictures = {
  vgg16: { path: 'test/fixtures/images/rocket.jpg', type: 'image/jpeg' },
  'fashion-vgg': { path: 'models/fashion-vgg/samples/ankle-boot.png', type: 'image/png' },
} as const satisfies Record<ModelName, unknown>;

/** A server that answers. */
export interface Performance {
  /** Where pictures are posted. */
  readonly url: string;
  /** What it says of the network's picture. */
  readonly answer: Answer;
  readonly tree: ProcessTree;
}

/** Servers of one network, one at a time, each with the machine to itself; none of them outlives this program. */
export class Stage {
  readonly #start: Omit<Start, 'folder' | 'port'>;
  readonly #folder: string;
  #tree: ProcessTree | undefined;

  /** Writes the weights for all of them, with a Python that has bench/peers/requirements.txt. */
  static async open(python: string, model: ModelName): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-peers-'));
    try {
      return new Stage(folder, { model, python, files: await writeModel(folder, python, model) });
    } catch (error) {
      await rm(folder, { recursive: true });
      throw error;
    }
  }

  private constructor(folder: string, start: Omit<Start, 'folder' | 'port'>) {
    this.#folder = folder;
    this.#start = start;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        this.#tree?.kill();
        rmSync(folder, { recursive: true });
        process.exit(1);
      });
    }
  }

  /** Starts a server, hands it over once it has answered, and stops it. */
  async with<T>(server: Server, work: (performance: Performance) => Promise<T>): Promise<T> {
    const port = await freePort();
    const { program, args, env } = server.command({ ...this.#start, port, folder: join(this.#folder, server.name) });
    const tree = new ProcessTree(program, args, env, join(this.#folder, `${server.name}.log`));
    this.#tree = tree;
    try {
      const url = `http://127.0.0.1:${port}${server.path(this.#start.model)}`;
      return await work({ url, answer: await this.#untilAnswered(url, tree), tree });
    } finally {
      await tree.stop();
      this.#tree = undefined;
    }
  }

  /** Posts the network's picture. */
  async ask(url: string): Promise<{ ok: boolean; text: string }> {
    const { path, type } = pictures[this.#start.model];
    const body = new Uint8Array(await readFile(path));
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': type }, body });
    return { ok: response.ok, text: await response.text() };
  }

  async close(): Promise<void> {
    this.#tree?.kill();
    await rm(this.#folder, { recursive: true });
  }

  async #untilAnswered(url: string, running: ProcessTree): Promise<Answer> {
    let last = '';
    for (const end = Date.now() + startTimeoutMs; Date.now() < end; await sleep(200)) {
      if (running.hasEnded) throw new Error(`it ended before it answered: ${running.lastWords()}`);
      const response = await this.ask(url).catch((error: Error) => error.message);
      if (typeof response !== 'string' && response.ok) return parseAnswer(response.text);
      last = typeof response === 'string' ? response : response.text;
    }
    throw new Error(`no answer in ${startTimeoutMs / 1000} s: ${last}; ${running.lastWords()}`);
  }
}

async function writeModel(folder: string, python: string, model: ModelName): Promise<Start['files']> {
  const embedded = fileURLToPath(new URL('../../../models/fashion-vgg/fashion-vgg.pth', import.meta.url));
  const pth = model === 'vgg16' ? await writeStandIn(folder) : embedded;
  const onnx = join(folder, `${model}.onnx`);
  const exporter = fileURLToPath(new URL('../../../bench/peers/export.py', import.meta.url));
  const { status } = spawnSync(python, ['-B', '-W', 'ignore', exporter, model, pth, onnx], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) throw new Error(`${python} cannot run ${exporter}: has it bench/peers/requirements.txt?`);
  return { pth, onnx };
}
