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
    if (handOver()) stdout.flushSync();
  };
  // Before pino's own listeners, which end the stream.
  process.on('beforeExit', flush);
  process.on('exit', flushSync);
  const stdout = destination({ dest: 1, sync: false, minLength: 2 ** 14 - 1 }); // It writes when it is told to.
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
