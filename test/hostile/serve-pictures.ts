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
}

/** Each of the 91 good pictures so many times, to begin with: until memory grows no more. */
const goodRounds = 8;
const goodPictures = [
  ...referenceRows.map(({ file }) => `images/${file}`),
  ...readdirSync(new URL('../../../test/fixtures/kinds/', import.meta.url)).map((file) => `kinds/${file}`),
];

/** Sends the pictures one after another to a server of their own. Rejects when it dies, or does not end by itself. */
export async function servePictures(pictures: Iterable<HostilePicture>): Promise<ServedPictures> {
  const child = fork(fileURLToPath(new URL('./server.js', import.meta.url)), { execArgv: ['--expose-gc'] });
  try {
    const { url } = await answerOf(child);
    const ask = (question: Question) => {
      child.send(question);
      return answerOf(child);
    };
    for (let round = 0; round < goodRounds; round++) {
      for (const file of goodPictures) {
        const { status } = await post(url, fixture(file), 'image/jpeg');
        if (status !== 200) throw new Error(`${file} was answered with ${status}.`);
      }
    }
    const { resident: residentBefore } = await ask('collect');
    const served: Served[] = [];
    for (const picture of pictures) served.push(await serve(url, ask, picture));
    const { resident: residentAfter } = await ask('collect');
    const exit = once(child, 'exit');
    child.send('end' satisfies Question);
    const [code] = await exit;
    if (code !== 0) throw new Error(`The server ended with ${code}.`);
    return { served, residentBefore, residentAfter };
  } finally {
    child.kill('SIGKILL');
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
