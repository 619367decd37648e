import { readFileSync } from 'node:fs';

/** Of one process as the kernel counts it, in bytes; only on Linux. */
export interface Memory {
  /** Resident: `anonymous`, and pages of mapped files, which the kernel can drop when others need the memory. */
  readonly rss: number;
  readonly anonymous: number;
  /** The largest `rss` so far. */
  readonly peak: number;
}

export function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytes = (field: string) => Number(new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
  return { rss: bytes('VmRSS'), anonymous: bytes('RssAnon'), peak: bytes('VmHWM') };
}

/** Ids of the processes that a process has started and that still run. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** In 10^6 bytes. */
export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
