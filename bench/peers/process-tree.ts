import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long a server has to end by itself. */
const graceMs = 15_000;

/** A program with all the processes that it starts: they share a session of the kernel's. Only on Linux. */
export class ProcessTree {
  readonly #leader: ChildProcess;
  readonly #log: string;

  /** @param log gets what the program prints */
  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv, log: string) {
    const out = openSync(log, 'a');
    this.#leader = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', out, out],
      detached: true,
    });
    this.#leader.on('error', (error) => appendFileSync(log, `${error.message}\n`));
    closeSync(out);
    this.#log = log;
  }

  get hasEnded(): boolean {
    return this.#leader.pid === undefined || this.#leader.exitCode !== null || this.#leader.signalCode !== null;
  }

  /** The last of what it printed. */
  lastWords(): string {
    return readFileSync(this.#log, 'utf8').trim().split('\n').slice(-5).join('\n');
  }

  /** Memory of all its processes in bytes, a page that n of them share counted 1/n for each. */
  pss(): number {
    return this.#pids().reduce((total, pid) => total + pssOf(pid), 0);
  }

  /** The process that computes: the one with the most memory besides the first, which started it; else the first. */
  get worker(): number {
    const others = this.#pids().filter((pid) => pid !== this.#leader.pid);
    const [largest] = others.sort((a, b) => pssOf(b) - pssOf(a));
    return largest ?? this.#leader.pid ?? Number.NaN;
  }

  /** SIGTERM to the first process. */
  terminate(): void {
    this.#leader.kill('SIGTERM');
  }

  /** As `terminate`; whoever is there later is killed. */
  async stop(): Promise<void> {
    if (!this.hasEnded) {
      this.terminate();
      await Promise.race([once(this.#leader, 'exit'), sleep(graceMs, undefined, { ref: false })]);
    }
    for (const end = Date.now() + 3000; this.#pids().length > 0 && Date.now() < end; ) await sleep(100);
    this.kill();
  }

  kill(): void {
    for (const pid of this.#pids()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
  }

  #pids(): number[] {
    const { pid } = this.#leader;
    if (pid === undefined) return [];
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && sessionOf(name) === pid)
      .map(Number);
  }
}

function pssOf(pid: number): number {
  return Number(/^Pss:\s*(\d+) kB$/m.exec(readIfThere(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) * 1024;
}

/** Of a process that runs; see proc_pid_stat(5): the name, in brackets, may hold anything. */
function sessionOf(pid: string): number | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`);
  const [state, , , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' ? undefined : Number(session);
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
