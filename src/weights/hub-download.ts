import { dirname } from 'node:path';
import { HubError, type HubReason, inMegabytes, TransientError } from './hub-error.js';
import { checkSpace } from './hub-folder.js';
import { type Answer, HubClient, isWorthAnother } from './hub-http.js';
import { PartialFile } from './hub-partial.js';
import type { OnProgress } from './hub-progress.js';
import { backoffMs, type Patience, retryAfterMs } from './hub-retry.js';

export interface Target {
  readonly file: string;
  /** Where the file will lie. */
  readonly path: string;
  readonly url: URL;
  /** Lower-case hex, at least 8 digits. */
  readonly hashPrefix: string;
}

export interface DownloadDeps {
  readonly patience: Patience;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly onProgress: OnProgress;
  readonly log: (line: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Fetches one file whose name begins its SHA-256, and gives it that name when all of it is there and the hash is right.
 * What has come before a cut, an abort or the end of the process is kept for the next call. Throws HubError, the signal's
 * reason, or what the file system throws.
 */
export async function download(target: Target, deps: DownloadDeps): Promise<void> {
  const { file, hashPrefix } = target;
  const client = await HubClient.open(file, deps.patience);
  try {
    const partial = await PartialFile.open(target.path, publicUrl(target.url), deps.signal);
    try {
      if (partial.size > 0) deps.onProgress({ file, receivedBytes: partial.size, totalBytes: partial.totalBytes });
      await receive(target, partial, client, deps);
      const sha256 = partial.sha256();
      if (sha256.startsWith(hashPrefix)) {
        await partial.finish();
        return;
      }
      const size = inMegabytes(partial.size);
      await partial.discard();
      throw new HubError(
        'hash_mismatch',
        file,
        `Its SHA-256 must begin with ${hashPrefix}, but the ${size} that came have ${sha256}.`,
      );
    } finally {
      await partial.close();
    }
  } finally {
    await client.close();
  }
}

/** Makes attempts until all bytes are there. */
async function receive(target: Target, partial: PartialFile, client: HubClient, deps: DownloadDeps): Promise<void> {
  const { patience, signal } = deps;
  let furthest = partial.size;
  let failures = 0;
  while (!isWhole(partial)) {
    try {
      await attempt(target, partial, client, deps);
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TransientError)) throw error;
      // A server may have promised more bytes than there are.
      if (partial.sha256().startsWith(target.hashPrefix)) return;
      if (partial.size >= furthest + patience.progressBytes) {
        furthest = partial.size;
        failures = 0;
      }
      failures++;
      await waitForAnother(error, failures, target.file, deps);
    }
  }
}

function isWhole({ size, totalBytes }: PartialFile): boolean {
  return size > 0 && size === totalBytes;
}

async function waitForAnother(
  error: TransientError,
  failures: number,
  file: string,
  { patience, sleep, log, signal }: DownloadDeps,
): Promise<void> {
  const { attempts, longestRetryAfterMs } = patience;
  if (failures >= attempts) {
    const seen = `${error.message} ${attempts} attempts got no further.`;
    throw new HubError(error.reason, file, seen, { cause: error });
  }
  const waitMs = error.retryAfterMs ?? backoffMs(failures, patience);
  if (waitMs > longestRetryAfterMs) {
    const seen = `${error.message} The server asks to come back in ${Math.round(waitMs / 1000)} s.`;
    throw new HubError(error.reason, file, seen, { cause: error });
  }
  log(`${file}: ${error.message} Attempt ${failures + 1} of ${attempts} in ${(waitMs / 1000).toFixed(1)} s.`);
  await sleep(waitMs, signal);
}

/** One request, and the bytes that it brings. */
async function attempt(target: Target, partial: PartialFile, client: HubClient, deps: DownloadDeps): Promise<void> {
  const { file, url } = target;
  const headers: Record<string, string> = {};
  if (partial.size > 0) {
    headers.range = `bytes=${partial.size}-`;
    // Without a validator the hash alone tells whether the parts belong together.
    if (partial.validator !== undefined) headers['if-range'] = partial.validator;
  }
  const answer = await client.request(url, headers, deps.signal);
  try {
    await checkAnswer(answer, target, partial);
    const validator = validatorOf(answer);
    const goesOn = answer.status === 206;
    const totalBytes = goesOn ? partial.totalBytes : contentLength(answer);
    if (totalBytes !== undefined) await checkSpace(dirname(target.path), file, totalBytes - partial.size);
    if (goesOn) deps.log(`${file}: going on from byte ${partial.size}`);
    const report = () =>
      deps.onProgress({ file, receivedBytes: partial.size, totalBytes: partial.totalBytes ?? totalBytes });

    let isStarted = goesOn;
    const start = async () => {
      await partial.restart({ url: publicUrl(url), validator, totalBytes });
      isStarted = true;
    };
    for await (const chunk of answer.chunks) {
      if (!isStarted) {
        if (looksLikeHtml(chunk)) throw htmlPage(target);
        await start();
        report();
      }
      await partial.append(chunk);
      report();
    }
    if (!isStarted) await start();
  } finally {
    answer.close();
  }
  if (partial.totalBytes !== undefined && partial.size < partial.totalBytes) {
    throw new TransientError('interrupted', `${inMegabytes(partial.size)} of ${inMegabytes(partial.totalBytes)} came.`);
  }
}

/** Passes a 200, and a 206 that continues what is there. */
async function checkAnswer(answer: Answer, target: Target, partial: PartialFile): Promise<void> {
  const { status } = answer;
  const { file } = target;
  if (status !== 200 && status !== 206 && status !== 416) throw statusError(answer, target);
  const encoding = answer.header('content-encoding') ?? 'identity';
  if (encoding !== 'identity') {
    throw new HubError(
      'bad_answer',
      file,
      `It came in the encoding ${encoding}, though the file itself was asked for.`,
    );
  }
  if (status === 416) {
    const seen = `The server has no bytes after the first ${partial.size}.`;
    if (!partial.sha256().startsWith(target.hashPrefix)) await startOver(partial);
    throw new TransientError('interrupted', seen);
  }
  if (/\bhtml\b/i.test(answer.header('content-type') ?? '')) throw htmlPage(target);
  if (status === 206) await checkRange(answer, target, partial);
}

/** Throws when the part that comes is not the rest of what is there. */
async function checkRange(answer: Answer, { file }: Target, partial: PartialFile): Promise<void> {
  const range = answer.header('content-range') ?? 'no Content-Range';
  const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(range) ?? [];
  if (from === undefined || (partial.size === 0 && from !== '0')) {
    throw new HubError('bad_answer', file, `Bytes from ${partial.size} were asked for, but the server sent ${range}.`);
  }
  const validator = validatorOf(answer);
  const isOther =
    Number(from) !== partial.size ||
    (total !== '*' && partial.totalBytes !== undefined && Number(total) !== partial.totalBytes) ||
    (validator !== undefined && partial.validator !== undefined && validator !== partial.validator);
  if (!isOther) return;
  await startOver(partial);
  throw new TransientError(
    'interrupted',
    'The file on the server has changed meanwhile: it starts from the beginning.',
  );
}

async function startOver(partial: PartialFile): Promise<void> {
  await partial.restart({ url: partial.url, validator: undefined, totalBytes: undefined });
}

const reasonOfStatus: Readonly<Record<number, HubReason>> = {
  401: 'access_denied',
  403: 'access_denied',
  404: 'not_found',
  407: 'proxy_failed',
  410: 'not_found',
  429: 'rate_limited',
};

function statusError(answer: Answer, { file, url }: Target): Error {
  const { status } = answer;
  const seen = `${publicUrl(url)} was answered with ${status}.`;
  if (isWorthAnother(status)) {
    const wait = retryAfterMs(answer.header('retry-after'), Date.now());
    return new TransientError(reasonOfStatus[status] ?? 'server_failed', seen, { retryAfterMs: wait });
  }
  const reason = reasonOfStatus[status] ?? (status >= 300 && status < 400 ? 'bad_redirect' : 'refused');
  return new HubError(reason, file, seen);
}

function htmlPage({ file, url }: Target): HubError {
  return new HubError('html_page', file, `${publicUrl(url)} was answered with an HTML page.`);
}

function looksLikeHtml(chunk: Uint8Array): boolean {
  return /^\s*<(!doctype html|html|head|body)\b/i.test(Buffer.from(chunk.subarray(0, 256)).toString('latin1'));
}

/** What If-Range takes (RFC 9110, 13.1.5): a strong ETag, or else the date. */
function validatorOf(answer: Answer): string | undefined {
  const etag = answer.header('etag');
  return etag?.startsWith('"') ? etag : answer.header('last-modified');
}

function contentLength(answer: Answer): number | undefined {
  const text = answer.header('content-length');
  return text === undefined ? undefined : Number(text);
}

/** Fit to be shown and to be kept: no password, no token. */
export function publicUrl({ origin, pathname }: URL): string {
  return origin + pathname;
}
