import { type Logger, pino } from 'pino';
import { build as prettyStream } from 'pino-pretty';

/** Writes JSON lines to stdout; on a terminal the same lines made easy to read. */
export function createLogger(level: string): Logger {
  const options = { level, base: null };
  if (!process.stdout.isTTY) return pino(options);
  return pino(options, prettyStream({ singleLine: true, translateTime: 'SYS:HH:MM:ss.l', sync: true }));
}
