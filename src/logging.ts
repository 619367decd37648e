import { type DestinationStream, destination, type Logger, pino } from 'pino';
import { build as prettyStream } from 'pino-pretty';

/** Longest wait of a line until it is written. */
const flushAfterMs = 20;
/** Lines that wait; more are written at once. */
const mostWaiting = 32;
/** Kept for a reader that is slow; when there is more, what is new is lost. */
const mostBytesKept = 2 ** 24;
/** How often a pipe that is full is tried again, each time after 0.1 s, when nothing else can go on meanwhile. */
const triesOfFullPipe = 10;

/** Writes JSON lines to stdout; on a terminal the same lines made easy to read. */
export function createLogger(level: string): Logger {
  const options = { level, base: null };
  if (!process.stdout.isTTY) return pino(options, gatheringStdout());
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
 */
function gatheringStdout(): DestinationStream & { flushSync(): void } {
  let lines: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  const handOver = () => {
    clearTimeout(timer);
    timer = undefined;
    if (lines.length === 0) return false;
    stdout.write(lines.join(''));
    lines = [];
    return true;
  };
  const flush = () => {
    if (handOver()) stdout.flush();
  };
  const flushSync = () => {
    handOver();
    triesLeft = triesOfFullPipe;
    try {
      stdout.flushSync();
    } catch {
      // There is nowhere to tell it.
    }
    triesLeft = Number.POSITIVE_INFINITY;
  };
  // Before pino's own listeners, which end the stream.
  process.on('beforeExit', flush);
  process.on('exit', () => {
    flushSync();
    stdout.destroy(); // Else pino would try once more, and for ever.
  });
  let triesLeft = Number.POSITIVE_INFINITY;
  const stdout = destination({
    dest: 1,
    sync: false,
    minLength: 2 ** 14 - 1, // It writes when it is told to.
    maxLength: mostBytesKept,
    retryEAGAIN: () => triesLeft-- > 0,
  });
  stdout.on('error', () => {});
  return {
    write(line) {
      lines.push(inertLine(line));
      if (lines.length >= mostWaiting) flush();
      else timer ??= setTimeout(flush, flushAfterMs).unref();
    },
    /** pino calls it after a fatal line. */
    flushSync,
  };
}
