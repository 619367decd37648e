import { type DestinationStream, destination, type Logger, pino } from 'pino';
import { build as prettyStream } from 'pino-pretty';

/** Longest wait of a line until it is written. */
const flushAfterMs = 20;
/** Lines that wait; more are written at once. */
const mostWaiting = 32;

/** Writes JSON lines to stdout; on a terminal the same lines made easy to read. */
export function createLogger(level: string): Logger {
  const options = { level, base: null };
  if (!process.stdout.isTTY) return pino(options, gatheringStdout());
  return pino(options, prettyStream({ singleLine: true, translateTime: 'SYS:HH:MM:ss.l', sync: true }));
}

/**
 * Gathers lines for a moment and writes them together: by themselves they took a seventh of a small request's CPU time.
 * What still waits when the process exits, or dies of an error, is written then.
 */
function gatheringStdout(): DestinationStream & { flushSync(): void } {
  let lines: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  /** Bytes that were handed over and are not written yet. */
  let unwritten = 0;
  const handOver = () => {
    clearTimeout(timer);
    timer = undefined;
    if (lines.length === 0) return false;
    const text = lines.join('');
    unwritten += Buffer.byteLength(text);
    stdout.write(text);
    lines = [];
    return true;
  };
  const flush = () => {
    if (handOver()) stdout.flush();
  };
  const flushSync = () => {
    if (!handOver()) return;
    stdout.flushSync();
    unwritten = 0;
  };
  // Before pino's own listeners, which end the stream.
  process.on('beforeExit', flush);
  process.on('exit', flushSync);
  const stdout = destination({ dest: 1, sync: false, minLength: 2 ** 14 - 1 }); // It writes when it is told to.
  // What it is told while it still writes it forgets: those lines would wait until another one is logged.
  stdout.on('write', (written: number) => {
    unwritten -= written;
  });
  stdout.on('drain', () => {
    if (unwritten > 0) stdout.flush();
  });
  return {
    write(line) {
      lines.push(line);
      if (lines.length >= mostWaiting) flush();
      else timer ??= setTimeout(flush, flushAfterMs).unref();
    },
    /** pino calls it after a fatal line. */
    flushSync,
  };
}
