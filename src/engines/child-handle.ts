import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Duplex, Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { buildCommand } from '../addon-file.js';
import type { EngineInfo, EngineName, EngineResult, EngineSpec } from './engine.js';
import { killOnExit } from './kill-on-exit.js';
import { type Message, MessageReader, ProtocolError, writeMessage } from './protocol.js';

export interface EngineChildOptions {
  readonly engine: EngineName;
  /** Program that speaks the protocol on file descriptor 3. */
  readonly program: URL;
  readonly startTimeoutMs: number;
  readonly runTimeoutMs: number;
  /** Gets each line that the child writes to its standard error or output. */
  readonly log: (line: string) => void;
  /** Added to the environment of the process. */
  readonly env: NodeJS.ProcessEnv;
  /** Ends a start; without effect once the child is ready. */
  readonly signal: AbortSignal;
}

/** The process could not start, is gone, or had to be killed: another one may do better. */
export class EngineDiedError extends Error {
  override readonly name: string = 'EngineDiedError';
}

/** The engine's library cannot be loaded on this machine, whatever the network. The message says what to do. */
export class EngineLoadError extends EngineDiedError {
  override readonly name = 'EngineLoadError';
}

const loadAdvice = {
  native: `Build it on this machine (${buildCommand}), or take --engine onnxruntime.`,
  onnxruntime: 'Install the packages again on this machine (npm ci): there is a binary for each system and CPU.',
  tfjs: 'docs/gpu.md says how it is installed; or take --engine auto.',
} as const satisfies Record<EngineName, string>;

/** The process lives, and has answered a run with a failure. */
export class EngineFailureError extends Error {
  override readonly name = 'EngineFailureError';
}

interface Question {
  readonly resolve: (answer: Message) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** Room for `failure` and for `ready`, whose plan has up to a step for each layer. */
const textBytes = 64 * 1024;
const textBytesOfLayer = 1024;

/** One engine process from its start to its end. It is asked one question at a time and never started again. */
export class EngineChild {
  readonly #process: ChildProcess;
  readonly #pipe: Duplex;
  readonly #classes: number;
  readonly #runTimeoutMs: number;
  /** Resolves with the reason once the process is gone; never rejects. */
  readonly ended: Promise<string>;
  #info: EngineInfo | undefined;
  #question: Question | undefined;
  #lastId = 0;
  /** Why this side killed the child. */
  #fault: string | undefined;
  #over = false;

  /**
   * Resolves when the network is loaded and warm. Throws EngineLoadError where the engine's library does not load, or
   * takes the process with it; EngineDiedError with the child's own reason if it gave one.
   */
  static async start(spec: EngineSpec, options: EngineChildOptions): Promise<EngineChild> {
    const { engine, startTimeoutMs, signal } = options;
    signal.throwIfAborted();
    const child = new EngineChild(spec, options);
    const onAbort = () => child.#kill('closed while it was starting');
    signal.addEventListener('abort', onAbort);
    try {
      await child.#load(engine, startTimeoutMs);
      const answer = await child.#ask({ type: 'start', spec }, startTimeoutMs);
      if (answer.type === 'failure') throw new EngineDiedError(answer.message);
      if (answer.type !== 'ready' || answer.info.engine !== engine || answer.info.precision !== spec.precision)
        throw await child.#violated(`${answer.type} in answer to start`);
      child.#info = answer.info;
      return child;
    } catch (error) {
      child.#kill('it could not start');
      await child.ended;
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  private constructor(spec: EngineSpec, options: EngineChildOptions) {
    this.#runTimeoutMs = options.runTimeoutMs;
    this.#classes = spec.classes;
    const child = spawn(process.execPath, [fileURLToPath(options.program)], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      windowsHide: true,
      env: { ...process.env, ...options.env },
    });
    killOnExit(child);
    this.#process = child;
    this.#pipe = child.stdio[3] as Duplex;

    const reader = new MessageReader(
      textBytes + spec.layers.length * textBytesOfLayer + spec.maxBatchSize * spec.classes * 4,
    );
    this.#pipe.on('data', (chunk: Buffer) => this.#read(reader, chunk));
    this.#pipe.on('error', () => {}); // Writing to a child that has died; its end is reported below.
    for (const stream of [child.stdout, child.stderr]) createInterface(stream as Readable).on('line', options.log);

    // 'close' comes after the last byte of every pipe, 'exit' may come before.
    this.ended = new Promise<string>((resolve) => {
      child.once('close', (code, signal) => resolve(signal ? `killed by ${signal}` : `exited with code ${code}`));
      child.once('error', (error) => resolve(error.message)); // It could not be started at all.
    }).then((reason) => this.#end(this.#fault ?? reason));
  }

  async #load(engine: EngineName, timeoutMs: number): Promise<void> {
    const answer = await this.#ask({ type: 'load', engine }, timeoutMs).catch((error: Error) => {
      if (this.#fault !== undefined) throw error; // This side ended it: that says nothing of the library.
      const what = `The ${engine} engine cannot be loaded: its process ended (${error.message}).`;
      throw new EngineLoadError(`${what} ${loadAdvice[engine]}`);
    });
    if (answer.type === 'failure') throw new EngineLoadError(answer.message);
    if (answer.type !== 'loaded') throw await this.#violated(`${answer.type} in answer to load`);
  }

  get info(): EngineInfo {
    if (!this.#info) throw new Error('the engine has not started');
    return this.#info;
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Throws EngineDiedError when the process dies, hangs or breaks the protocol; EngineFailureError with its own words. */
  async run(pixels: Uint8Array, n: number): Promise<EngineResult> {
    const id = ++this.#lastId;
    const answer = await this.#ask({ type: 'run', id, n, pixels }, this.#runTimeoutMs);
    if (answer.type === 'failure' && answer.id === id) throw new EngineFailureError(answer.message);
    if (answer.type !== 'result' || answer.id !== id || answer.logits.length !== n * this.#classes) {
      throw await this.#violated(`${answer.type} in answer to run ${id}`);
    }
    return { logits: answer.logits, computeMs: answer.computeMs };
  }

  /** Lets a run in flight end, at most `graceMs` long. */
  async close(graceMs: number): Promise<void> {
    if (!this.#over) writeMessage(this.#pipe, { type: 'close' });
    const timer = setTimeout(() => this.#kill(`still busy ${graceMs} ms after it was asked to close`), graceMs).unref();
    await this.ended;
    clearTimeout(timer);
  }

  #ask(message: Message, timeoutMs: number): Promise<Message> {
    if (this.#question) throw new Error('an engine answers one question at a time');
    if (this.#over) throw new EngineDiedError('the process has ended');
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#kill(`no answer to ${message.type} within ${timeoutMs} ms`), timeoutMs);
      this.#question = { resolve, reject, timer: timer.unref() };
      writeMessage(this.#pipe, message);
    });
  }

  #read(reader: MessageReader, chunk: Buffer): void {
    try {
      for (const message of reader.push(chunk)) {
        const question = this.#question;
        if (!question) throw new ProtocolError(`${message.type} without a question`);
        this.#question = undefined;
        clearTimeout(question.timer);
        question.resolve(message);
      }
    } catch (error) {
      void this.#violated(error instanceof Error ? error.message : String(error));
    }
  }

  /** The child has broken the protocol: no later byte of it can be trusted. */
  async #violated(what: string): Promise<EngineDiedError> {
    this.#pipe.destroy();
    this.#kill(`broke the protocol: ${what}`);
    await this.ended;
    return new EngineDiedError(this.#fault);
  }

  #kill(reason: string): void {
    this.#fault ??= reason;
    this.#process.kill('SIGKILL');
  }

  #end(reason: string): string {
    this.#over = true;
    const question = this.#question;
    this.#question = undefined;
    clearTimeout(question?.timer);
    question?.reject(new EngineDiedError(reason));
    return reason;
  }
}
