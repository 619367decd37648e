import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fixture, referenceRows } from '../preprocessing/fixtures.js';
import type { HostilePicture } from './pictures.js';
import type { Answer, Question } from './server.js';

/** What became of one picture. */
export interface Served {
  readonly kind: string;
  readonly name: string;
  readonly bytes: number;
  readonly status: number;
  /** `read`, or the code of the error. */
  readonly outcome: string;
  readonly isExpected: boolean;
  readonly ms: number;
  /** Processor time of all threads of the server: what a busy machine does not change. */
  readonly cpuMs: number;
  /** Memory of the server above what it had before, the bytes of the request among them; 0 where it cannot be measured. */
  readonly peakBytes: number;
}

export interface ServedPictures {
  readonly served: readonly Served[];
  /** Resident memory of the server after good pictures, before the hostile ones; and after them. In bytes. */
  readonly residentBefore: number;
  readonly residentAfter: number;
  /** What all those that were sent at once took together, above what there was before. In bytes. */
  readonly togetherBytes: number;
}

/** Each of the 91 good pictures so many times, to begin with: until memory grows no more. */
const goodRounds = 7;
const settleRounds = 3;
/** Of the server, to decode pictures. */
const threads = 4;
const goodPictures = [
  ...referenceRows.map(({ file }) => `images/${file}`),
  ...readdirSync(new URL('../../../test/fixtures/kinds/', import.meta.url)).map((file) => `kinds/${file}`),
];

/**
 * Sends the pictures one after another to a server of their own. Rejects when it dies, or does not end by itself.
 * @param together all at once, in the end
 */
export async function servePictures(
  pictures: Iterable<HostilePicture>,
  together: readonly HostilePicture[] = [],
): Promise<ServedPictures> {
  const child = fork(fileURLToPath(new URL('./server.js', import.meta.url)), [`${threads}`], {
    execArgv: ['--expose-gc'],
  });
  try {
    const { url } = await answerOf(child);
    const ask = (question: Question) => {
      child.send(question);
      return answerOf(child);
    };
    for (let round = 0; round < goodRounds; round++) await sendGood(url);
    const residentBefore = await residentOf(url, ask);
    const served: Served[] = [];
    for (const picture of pictures) served.push(await serve(url, ask, picture));
    const residentAfter = await residentOf(url, ask);
    const bodies = await Promise.all(together.map(({ make }) => make()));
    await ask('start');
    await Promise.all(bodies.map((bytes) => post(url, bytes, 'image/webp')));
    const { peakBytes: togetherBytes } = await ask('measure');
    const exit = once(child, 'exit');
    child.send('end' satisfies Question);
    const [code] = await exit;
    if (code !== 0) throw new Error(`The server ended with ${code}.`);
    return { served, residentBefore, residentAfter, togetherBytes };
  } finally {
    child.kill('SIGKILL');
  }
}

/** As many at a time as there are threads, so that each has its heaps before anything is measured. */
async function sendGood(url: string): Promise<void> {
  for (let at = 0; at < goodPictures.length; at += threads) {
    const statuses = goodPictures
      .slice(at, at + threads)
      .map(async (file) => (await post(url, fixture(file), 'image/jpeg')).status);
    for (const status of await Promise.all(statuses)) {
      if (status !== 200)
        throw new Error(`A good picture of ${goodPictures[at]} and those behind it was answered with ${status}.`);
    }
  }
}

async function answerOf(child: ChildProcess): Promise<Answer> {
  const gone = new AbortController();
  try {
    return await Promise.race([
      once(child, 'message', gone).then(([answer]) => answer as Answer),
      once(child, 'exit', gone).then(([code, signal]): never => {
        throw new Error(`The server died: ${signal ?? code}.`);
      }),
    ]);
  } finally {
    gone.abort();
  }
}

type Ask = (question: Question) => Promise<Answer>;

/**
 * Behind a large good picture in each thread: it gives free memory back when it has been idle for a second after one.
 * The least of some tries: what leaks is there at each of them, and the 36 MB of a picture that one collection has missed
 * are not.
 */
async function residentOf(url: string, ask: Ask): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < settleRounds; round++) {
    await ask('forget');
    const large = fixture('images/chelsea_12mp.jpg');
    await Promise.all(Array.from({ length: threads }, () => post(url, large, 'image/jpeg')));
    least = Math.min(least, (await ask('settle')).resident);
  }
  return least;
}

async function serve(url: string, ask: Ask, { kind, name, make, outcomes }: HostilePicture): Promise<Served> {
  const bytes = await make();
  await ask('start');
  const start = performance.now();
  const { status, outcome } = await post(url, bytes, 'image/png'); // Of whatever it is: nobody looks.
  const ms = performance.now() - start;
  const { peakBytes, cpuMs } = await ask('measure');
  const isExpected = outcomes.some((expected) => expected === outcome);
  return { kind, name, bytes: bytes.length, status, outcome, isExpected, ms, cpuMs, peakBytes };
}

async function post(url: string, bytes: Buffer, type: string): Promise<{ status: number; outcome: string }> {
  const body = new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
  const response = await fetch(`${url}/classify`, { method: 'POST', headers: { 'content-type': type }, body });
  const { code = 'read' } = (await response.json()) as { code?: string };
  return { status: response.status, outcome: code };
}
