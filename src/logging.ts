import { writeSync } from 'node:fs';
import { type DestinationStream, type Logger, pino } from 'pino';
import { build as prettyStream } from 'pino-pretty';

/** Longest wait of a line until it is written. */
const flushAfterMs = 20;
/** Lines that wait; more are written at once. */
const mostWaiting = 32;
/** Characters kept for a reader that is slow; further lines are lost. */
const mostKept = 2 ** 24;
/** After which a pipe that was full is tried again. */
const retryMs = 100;
/** How often at the end, where nothing else can go on meanwhile. */
const triesAtEnd = 10;

/** Writes JSON lines to stdout; on a terminal the same lines made easy to read. */
export function createLogger(level: string): Logger {
  const options = { level, base: null };
  if (!process.stdout.isTTY) return pino(options, new GatheringStdout());
  return pino(options, prettyLines());
}

/** What terminals obey or show in another order, and JSON lets stand: DEL, C1, line and paragraph ends, directions of text. */
const obeyed = /[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** The same JSON without any character that a terminal obeys. (JSON itself has no control characters below 32.) */
export function inertLine(line: string): string {
  return line.replace(obeyed, inJson);
}

function inJson(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * Lines for people. They show the texts of JSON as they are, so what a terminal obeys is spelled out before; line ends stay,
 * for the stacks of errors.
 * @param destination stdout by default
 */
export function prettyLines(destination?: DestinationStream): DestinationStream {
  const pretty = prettyStream({
    singleLine: true,
    translateTime: 'SYS:HH:MM:ss.l',
    sync: true,
    ...(destination && { destination, colorize: true }),
  });
  return {
    write(line) {
      // \\ is passed over, so that a spelled-out escape is not taken for one.
      pretty.write(inertLine(line).replace(/\\(?:\\|[rbf]|u[0-9a-f]{4})/gi, spelledOut));
    },
  };
}

function spelledOut(inJson: string): string {
  return inJson === '\\\\' ? inJson : `\\${inJson}`;
}

/**
 * Gathers lines for a moment and writes them together: by themselves they took a seventh of a small request's CPU time.
 * What still waits when the process exits, or dies of an error, is written then. Nothing that can be wrong with stdout (a
 * reader that has gone or reads no more, a full disk) ends the process or holds it up: lines are lost then.
 *
 * (The stream of pino's own does that only in part: at the end of the process it tries for ever to write to a reader that
 * has gone.)
 */
class GatheringStdout {
  #lines: string[] = [];
  /** What the last write has left; it goes first. */
  #rest = Buffer.alloc(0);
  #kept = 0;
  #timer: NodeJS.Timeout | undefined;
  #isFull = false;
  #hasReader = true;

  constructor() {
    process.on('beforeExit', () => this.#writeOut());
    process.on('exit', () => this.flushSync());
  }

  write(line: string): void {
    if (!this.#hasReader || this.#kept > mostKept) return;
    this.#lines.push(inertLine(line));
    this.#kept += line.length;
    if (this.#lines.length >= mostWaiting && !this.#isFull) this.#writeOut();
    else this.#timer ??= setTimeout(() => this.#writeOut(), flushAfterMs).unref();
  }

  /** pino calls it after a fatal line. */
  flushSync(): void {
    for (let tries = 0; !this.#writeOut() && tries < triesAtEnd; tries++) sleepSync(retryMs);
  }

  /** @returns whether nothing is left */
  #writeOut(): boolean {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#lines.length > 0) this.#rest = Buffer.concat([this.#rest, Buffer.from(this.#lines.join(''))]);
    this.#lines = [];
    this.#isFull = false;
    try {
      // It does not wait: Node has made a pipe non-blocking by the time that it has looked at process.stdout.
      while (this.#rest.length > 0) this.#rest = this.#rest.subarray(writeSync(1, this.#rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EAGAIN') {
        this.#isFull = true;
        this.#timer = setTimeout(() => this.#writeOut(), retryMs).unref();
        return false;
      }
      this.#rest = this.#rest.subarray(this.#rest.length);
      this.#hasReader = code !== 'EPIPE';
    }
    this.#kept = 0;
    return true;
  }
}

function sleepSync(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
