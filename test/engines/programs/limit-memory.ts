import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * From now on this process gets at most so much more address space. Linux only.
 * @param moreBytes threads that are yet to start reserve 128 MB each, for a moment
 */
export function limitMemory(moreBytes: number): void {
  const [, kilobytes] = /^VmSize:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  const bytes = Number(kilobytes) * 1024 + moreBytes;
  execFileSync('prlimit', ['--pid', String(process.pid), `--as=${bytes}`]);
}
