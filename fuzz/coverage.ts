import { Session } from 'node:inspector/promises';

/** Which blocks of the code inputs have reached, by V8's own counters. */
export interface Coverage {
  /** Whether what ran since the last call reached a block of the chosen modules that nothing had reached before. */
  reachedNew(): Promise<boolean>;
  close(): void;
}

/** @param modules parts of paths: `src/weights/` */
export async function startCoverage(modules: readonly string[]): Promise<Coverage> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const seen = new Set<string>();
  return {
    async reachedNew() {
      const { result } = await session.post('Profiler.takePreciseCoverage');
      const before = seen.size;
      for (const { url, functions } of result) {
        if (!modules.some((part) => url.includes(part))) continue;
        for (const { ranges } of functions) {
          for (const { startOffset, endOffset, count } of ranges) {
            if (count > 0) seen.add(`${url} ${startOffset} ${endOffset}`);
          }
        }
      }
      return seen.size > before;
    },
    close: () => session.disconnect(),
  };
}
