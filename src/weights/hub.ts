import { dirname, join, posix } from 'node:path';
import { setTimeout as timer } from 'node:timers/promises';
import { type DownloadDeps, download, publicUrl, type Target } from './hub-download.js';
import { HubError, inMegabytes } from './hub-error.js';
import { folderError, isThere, makeFolder } from './hub-folder.js';
import { FileLock } from './hub-lock.js';
import { readPartialSize } from './hub-partial.js';
import { type OnProgress, throttled } from './hub-progress.js';
import { defaultPatience, type Patience } from './hub-retry.js';

export interface FetchOptions {
  /** `checkpointsFolder` says which. It is made when it is missing. */
  readonly folder: string;
  /** A mirror: the name of the file is appended to its path. */
  readonly baseUrl?: string | undefined;
  /** Open no connection. */
  readonly offline: boolean;
  /** What the file has, roughly: told to a user who has to fetch it by hand. */
  readonly expectedBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** At most ten times a second, and when the file is whole. Not called for a file that is there already. */
  readonly onProgress?: OnProgress | undefined;
  /** Retries, waits and resumptions, a line each. */
  readonly log?: ((line: string) => void) | undefined;
  readonly patience?: Partial<Patience> | undefined;
  /** @default a timer that the signal ends */
  readonly sleep?: DownloadDeps['sleep'] | undefined;
}

/**
 * The path of a file of weights, fetched when it does not lie in the folder yet. The name at the end of the URL holds the
 * first digits of the file's SHA-256, as in torch.hub: a file that comes is checked against it, one that lies there is
 * trusted. Of several processes that ask at once, one fetches. An abort keeps what has come, for the next call.
 *
 * @throws HubError; the reason of the signal
 */
export async function fetchWeights(url: string, options: FetchOptions): Promise<string> {
  const target = targetOf(url, options);
  try {
    await ensure(target, options);
    return target.path;
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    throw folderError(error as NodeJS.ErrnoException, options.folder, target.file);
  }
}

/** Torch's own rule (torch.hub.HASH_REGEX), but for the least number of digits. */
export const hashInName = /-([0-9a-f]{8,64})\./;

function targetOf(text: string, { folder, baseUrl }: FetchOptions): Target {
  const original = parseUrl(text);
  const file = posix.basename(original.pathname);
  const url = baseUrl === undefined ? original : parseUrl(baseUrl);
  if (baseUrl !== undefined) url.pathname = posix.join(url.pathname, file);
  const hashPrefix = hashInName.exec(file)?.[1];
  if (hashPrefix === undefined) throw new HubError('bad_url', file, 'Its name does not say what its hash is.');
  return { file, path: join(folder, file), url, hashPrefix };
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new HubError('bad_url', text, 'This is no address that weights can come from.');
}

async function ensure(target: Target, options: FetchOptions): Promise<void> {
  const deps: Omit<DownloadDeps, 'signal'> = {
    patience: { ...defaultPatience, ...options.patience },
    sleep: options.sleep ?? ((ms, signal) => timer(ms, undefined, { signal })),
    onProgress: throttled(options.onProgress ?? (() => {})),
    log: options.log ?? (() => {}),
  };
  const signal = options.signal ?? new AbortController().signal;
  let hasSaidSo = false;
  while (!(await isThere(target.path))) {
    signal.throwIfAborted();
    if (options.offline) throw offlineError(target, options.expectedBytes);
    await makeFolder(dirname(target.path));
    const lock = await FileLock.tryTake(`${target.path}.lock`);
    if (lock !== undefined) {
      await fetchWith(lock, target, { ...deps, signal });
      continue;
    }
    if (!hasSaidSo) deps.log(`${target.file}: another process fetches it; waiting`);
    hasSaidSo = true;
    deps.onProgress({ file: target.file, ...(await readPartialSize(target.path)) });
    await deps.sleep(deps.patience.pollMs, signal);
  }
}

async function fetchWith(lock: FileLock, target: Target, deps: DownloadDeps): Promise<void> {
  try {
    // It may have come between the look and the lock.
    if (await isThere(target.path)) return;
    await download(target, { ...deps, signal: AbortSignal.any([deps.signal, lock.lost]) });
  } catch (error) {
    if (!lock.lost.aborted) throw error;
    deps.log(`${target.file}: another process has taken over`);
  } finally {
    await lock.release();
  }
}

function offlineError({ file, path, url }: Target, expectedBytes: number | undefined): HubError {
  const size = expectedBytes === undefined ? '' : ` (${inMegabytes(expectedBytes)})`;
  const seen = `It is not in ${dirname(path)}, and --offline forbids to fetch it${size} from ${publicUrl(url)}.`;
  return new HubError('offline', file, seen);
}
