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
  /** Pictures in the largest run before it is ready. */
  readonly warmUpSize: number;
  readonly runTimeoutMs: number;
  /** Gets each line that the child writes to its standard error or output. */
  readonly log: (line: string) => void;
  /** Added to the environment of the process. */
  readonly env: NodeJS.ProcessEnv;
  /** Ends a start; without effect once the child is ready. */
  readonly signal: AbortSignal;
}

/**
 * How a process is lost: `killed` by a signal that was not ours, `exited` by itself or not able to start, `hung` beyond its
 * time, or `garbage`: it has answered what cannot be an answer.
 */
export type LossKind = 'killed' | 'exited' | 'hung' | 'garbage';

export interface Loss {
  readonly kind: LossKind;
  readonly reason: string;
  /** That killed it, unless this side sent it. */
  readonly signal?: NodeJS.Signals;
}

/** The process could not start, is gone, or had to be killed: another one may do better. */
export class EngineDiedError extends Error {
  override readonly name: string = 'EngineDiedError';
  readonly loss: Loss;

  constructor(loss: Loss, message = loss.reason) {
    super(message);
    this.loss = loss;
  }
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
  /** Resolves once the process is gone; never rejects. */
  readonly ended: Promise<Loss>;
  #info: EngineInfo | undefined;
  #question: Question | undefined;
  #lastId = 0;
  /** Why this side killed the child. */
  #fault: Loss | undefined;
  #over = false;

  /**
   * Resolves when the network is loaded and warm. Throws EngineLoadError where the engine's library does not load, or
   * takes the process with it; EngineDiedError with the child's own reason if it gave one.
   */
  static async start(spec: EngineSpec, options: EngineChildOptions): Promise<EngineChild> {
    const { engine, startTimeoutMs, warmUpSize, signal } = options;
    signal.throwIfAborted();
    const child = new EngineChild(spec, options);
    const onAbort = () => child.#kill('exited', 'closed while it was starting');
    signal.addEventListener('abort', onAbort);
    try {
      await child.#load(engine, startTimeoutMs);
      const answer = await child.#ask({ type: 'start', spec, warmUpSize }, startTimeoutMs);
      if (answer.type === 'failure') throw new EngineDiedError({ kind: 'exited', reason: answer.message });
      if (answer.type !== 'ready' || answer.info.engine !== engine || answer.info.precision !== spec.precision)
        throw await child.#violated(`${answer.type} in answer to start`);
      child.#info = answer.info;
      return child;
    } catch (error) {
      child.#kill('exited', 'it could not start');
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
    this.ended = new Promise<Loss>((resolve) => {
      child.once('close', (code, signal) =>
        resolve(
          signal
            ? { kind: 'killed', reason: `killed by ${signal}`, signal }
            : { kind: 'exited', reason: `exited with code ${code}` },
        ),
      );
      // It could not be started at all.
      child.once('error', (error) => resolve({ kind: 'exited', reason: error.message }));
    }).then((loss) => this.#end(this.#fault ?? loss));
  }

  async #load(engine: EngineName, timeoutMs: number): Promise<void> {
    const answer = await this.#ask({ type: 'load', engine }, timeoutMs).catch((error: unknown) => {
      // This side ended it: that says nothing of the library.
      if (this.#fault !== undefined || !(error instanceof EngineDiedError)) throw error;
      const what = `The ${engine} engine cannot be loaded: its process ended (${error.message}).`;
      throw new EngineLoadError(error.loss, `${what} ${loadAdvice[engine]}`);
    });
    if (answer.type === 'failure') throw new EngineLoadError({ kind: 'exited', reason: answer.message });
    if (answer.type !== 'loaded') throw await this.#violated(`${answer.type} in answer to load`);
  }

  get info(): EngineInfo {
    if (!this.#info) throw new Error('the engine has not started');
    return this.#info;
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /**
   * Throws EngineDiedError when the process dies, hangs, breaks the protocol or answers with numbers that are not finite;
   * EngineFailureError with its own words.
   */
  async run(pixels: Uint8Array, n: number): Promise<EngineResult> {
    const id = ++this.#lastId;
    const answer = await this.#ask({ type: 'run', id, n, pixels }, this.#runTimeoutMs);
    if (answer.type === 'failure' && answer.id === id) throw new EngineFailureError(answer.message);
    if (answer.type !== 'result' || answer.id !== id || answer.logits.length !== n * this.#classes) {
      throw await this.#violated(`${answer.type} in answer to run ${id}`);
    }
    // Sound weights give finite logits for any picture. This process's are not, or no longer.
    if (!answer.logits.every(Number.isFinite))
      throw await this.#distrust('answered with logits that are NaN or infinite');
    return { logits: answer.logits, computeMs: answer.computeMs };
  }

  /** Lets a run in flight end, at most `graceMs` long. */
  async close(graceMs: number): Promise<void> {
    if (!this.#over) writeMessage(this.#pipe, { type: 'close' });
    const timer = setTimeout(
      () => this.#kill('hung', `still busy ${graceMs} ms after it was asked to close`),
      graceMs,
    ).unref();
    await this.ended;
    clearTimeout(timer);
  }

  #ask(message: Message, timeoutMs: number): Promise<Message> {
    if (this.#question) throw new Error('an engine answers one question at a time');
    if (this.#over) throw new EngineDiedError({ kind: 'exited', reason: 'the process has ended' });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#kill('hung', `no answer to ${message.type} within ${timeoutMs} ms`),
        timeoutMs,
      );
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

  /** The child has broken the protocol. */
  #violated(what: string): Promise<EngineDiedError> {
    return this.#distrust(`broke the protocol: ${what}`);
  }

  /** No later byte of the child can be trusted. */
  async #distrust(reason: string): Promise<EngineDiedError> {
    this.#pipe.destroy();
    this.#kill('garbage', reason);
    await this.ended;
    return new EngineDiedError(this.#fault ?? { kind: 'garbage', reason });
  }

  #kill(kind: LossKind, reason: string): void {
    this.#fault ??= { kind, reason };
    this.#process.kill('SIGKILL');
  }

  #end(loss: Loss): Loss {
    this.#over = true;
    const question = this.#question;
    this.#question = undefined;
    clearTimeout(question?.timer);
    question?.reject(new EngineDiedError(loss));
    return loss;
  }
}
