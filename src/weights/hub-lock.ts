import { randomUUID } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';

/** How long one lock goes without a heartbeat before others take it for abandoned. */
const staleMs = 20_000;
const heartbeatMs = 2_000;

interface Owner {
  readonly pid: number;
  readonly host: string;
}

/**
 * A lock that processes of one machine, or of several that share a folder, hold by a file: made with O_EXCL, touched every
 * two seconds while it is held. A lock is abandoned when its process is dead (which only the same host can tell) or when
 * it was not touched for 20 s; the next one that asks removes it. A holder that slept for so long may thus lose its
 * lock: `lost` then fires at its next heartbeat.
 */
export class FileLock {
  readonly #path: string;
  readonly #text: string;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #lost = new AbortController();

  private constructor(path: string, text: string) {
    this.#path = path;
    this.#text = text;
    this.#heartbeat = setInterval(() => void this.beat(), heartbeatMs);
    this.#heartbeat.unref();
  }

  /** Undefined when a living process holds it. Throws what the file system throws. */
  static async tryTake(path: string): Promise<FileLock | undefined> {
    const text = JSON.stringify({ pid: process.pid, host: thisHost(), token: randomUUID() });
    for (;;) {
      if (await create(path, text)) return new FileLock(path, text);
      const seen = await read(path);
      if (seen === undefined) continue; // released meanwhile
      if (!isAbandoned(seen, Date.now()) || !(await removeAbandoned(path))) return undefined;
    }
  }

  /** Fires when another process has taken the lock for abandoned. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Tells others that the holder lives. */
  async beat(): Promise<void> {
    try {
      const seen = await read(this.#path);
      if (seen?.text !== this.#text) this.#lost.abort();
      else await utimes(this.#path, new Date(), new Date());
    } catch {
      // The folder may come back before the lock is stale.
    }
  }

  async release(): Promise<void> {
    clearInterval(this.#heartbeat);
    const seen = await read(this.#path).catch(() => undefined);
    if (seen?.text === this.#text) await rm(this.#path, { force: true });
  }
}

async function create(path: string, text: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx');
    try {
      await handle.writeFile(text);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

interface Seen {
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly touchedAt: number;
}

async function read(path: string): Promise<Seen | undefined> {
  try {
    return { text: await readFile(path, 'utf8'), touchedAt: (await stat(path)).mtimeMs };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

export function isAbandoned({ text, touchedAt }: Seen, now: number): boolean {
  if (now - touchedAt > staleMs) return true;
  const owner = parseOwner(text);
  return owner !== undefined && owner.host === thisHost() && !isAlive(owner.pid);
}

/** Undefined for a lock whose process has not written yet who it is, or died before it could. */
function parseOwner(text: string): Owner | undefined {
  try {
    const { pid, host } = JSON.parse(text) as Partial<Record<keyof Owner, unknown>>;
    return Number.isSafeInteger(pid) && typeof host === 'string' ? { pid: pid as number, host } : undefined;
  } catch {
    return undefined;
  }
}

/** With the namespace of its process ids: containers may have the same host name, and each its own process 1. */
function thisHost(): string {
  try {
    return `${hostname()} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/**
 * Removes the lock if it is abandoned. Only who holds a second file may do so, and looks again then: else two that have
 * seen the same abandoned lock could remove it and the new lock of a third. False when another process is at it.
 */
async function removeAbandoned(path: string): Promise<boolean> {
  const guard = `${path}.breaking`;
  if (!(await create(guard, ''))) {
    // One that died at it is given time as a lock is.
    const seen = await read(guard);
    if (seen !== undefined && isAbandoned(seen, Date.now())) await rm(guard, { force: true });
    return false;
  }
  try {
    const seen = await read(path);
    if (seen !== undefined && isAbandoned(seen, Date.now())) await rm(path, { force: true });
    return true;
  } finally {
    await rm(guard, { force: true });
  }
}
