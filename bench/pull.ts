/**
 * What it costs to fetch VGG-16: time and memory; whole, with a cut of the connection, and with a kill of the process in
 * the middle. Exit code 1 when a peak is more than allowed.
 *
 *     npm run bench:pull
 *
 * The file is that of stand-in.ts. Server and client are processes of their own. The peak is the kernel's (VmHWM in /proc, so Linux only), idle is what the client has before it begins.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { on, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readCheckpoint } from '../src/weights/checkpoint.js';
import { sha256OfFile } from '../src/weights/hash.js';
import { machineLines } from './machine.js';
import { writeStandIn } from './stand-in.js';

const allowedMiB = 100;

interface Pull {
  readonly what: string;
  readonly receivedBytes: number;
  readonly seconds: number;
  readonly idleMiB: number;
  readonly peakMiB: number;
  /** The first byte of each answer that was not whole. */
  readonly resumedFrom: readonly number[];
}

const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-pull-'));
try {
  const file = await writeStandIn(folder);
  const sha256 = await sha256OfFile(file);
  const { size } = await stat(file);
  const half = Math.floor(size / 2);

  report(file, size, [
    ...(await pullAndVerify(file, sha256, size, ['whole'])),
    ...(await pullAndVerify(file, sha256, half, ['connection cut in the middle'])),
    ...(await pullAndVerify(file, sha256, size, ['process killed in the middle', 'the next process'], half)),
  ]);
} finally {
  await rm(folder, { recursive: true });
}

/** One process after the other pulls into one folder. @param killAt bytes that the first ones have when they are killed */
async function pullAndVerify(
  file: string,
  sha256: string,
  cutAfter: number,
  whats: readonly string[],
  killAt = Number.POSITIVE_INFINITY,
): Promise<Pull[]> {
  const target = await mkdtemp(join(folder, 'pulled-'));
  const server = fork(programOf('pull-server'), [file, String(cutAfter)]);
  try {
    const [origin] = (await once(server, 'message')) as [string];
    const starts: number[] = [];
    server.on('message', (start: number) => starts.push(start));
    const pulls: Pull[] = [];
    for (const what of whats) {
      const isLast = what === whats.at(-1);
      const before = starts.length;
      const measured = await pull(`${origin}/${basename(file)}`, target, isLast ? Number.POSITIVE_INFINITY : killAt);
      pulls.push({ what, ...measured, resumedFrom: starts.slice(before).filter((start) => start > 0) });
    }
    await verify(join(target, basename(file)), sha256);
    return pulls;
  } finally {
    server.kill();
    await rm(target, { recursive: true });
  }
}

async function pull(url: string, target: string, killAt: number): Promise<Omit<Pull, 'what' | 'resumedFrom'>> {
  const client = fork(programOf('pull-client'), [url, target]);
  const isGone = once(client, 'exit');
  await once(client, 'message');
  const idleMiB = memoryMiB(client, 'VmRSS');
  const startedAt = performance.now();
  client.send('start');
  let firstBytes: number | undefined;
  let lastBytes = 0;
  for await (const [message] of on(client, 'message') as AsyncIterable<[number | 'fetched']>) {
    if (message === 'fetched') break;
    firstBytes ??= message;
    lastBytes = message;
    if (message >= killAt) break;
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const peakMiB = memoryMiB(client, 'VmHWM');
  client.kill('SIGKILL');
  await isGone;
  return { receivedBytes: lastBytes - (firstBytes ?? 0), seconds, idleMiB, peakMiB };
}

function programOf(name: string): string {
  return fileURLToPath(new URL(`./${name}.js`, import.meta.url));
}

function memoryMiB({ pid }: ChildProcess, row: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${row}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
}

async function verify(path: string, sha256: string): Promise<void> {
  const seen = await sha256OfFile(path);
  if (seen !== sha256) throw new Error(`the pulled file has the sha256 ${seen}, not ${sha256}`);
  const { tensors } = await readCheckpoint(path);
  if (tensors.length !== 32) throw new Error(`the pulled file has ${tensors.length} tensors, not 32`);
}

function report(file: string, size: number, pulls: readonly Pull[]): void {
  console.log(machineLines(['undici']));
  console.log(`${basename(file)}, ${size} bytes, from a server on this machine; each pulled file verified\n`);
  console.log('| what | bytes | s | MB/s | idle MiB | peak MiB | above idle | resumed from byte |');
  console.log('|---|---|---|---|---|---|---|---|');
  for (const { what, receivedBytes, seconds, idleMiB, peakMiB, resumedFrom } of pulls) {
    const speed = receivedBytes / 1e6 / seconds;
    const memory = [idleMiB, peakMiB, peakMiB - idleMiB].map((value) => value.toFixed(1));
    const cells = [what, receivedBytes, seconds.toFixed(2), speed.toFixed(0), ...memory, resumedFrom.join(', ')];
    console.log(`| ${cells.join(' | ')} |`);
  }
  const most = Math.max(...pulls.map(({ idleMiB, peakMiB }) => peakMiB - idleMiB));
  console.log(`\nmost memory above idle: ${most.toFixed(1)} MiB of ${allowedMiB} MiB allowed`);
  if (most > allowedMiB) process.exitCode = 1;
}
