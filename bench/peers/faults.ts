/**
 * What this service and Python servers of the same network do when something goes wrong. The small network of
 * models/fashion-vgg, each server with the machine to itself:
 *
 *     npm run bench:faults -- --python PEERS/bin/python [--peers a,b] [--json]
 *
 * - `cut`: a picture of which the second half is missing
 * - `bomb`: a PNG of 13,000 x 13,000 pixels in less than 200 kB; the growth of memory while it is answered
 * - `kill`: 16 connections post a picture as fast as they can; after 2 s the process that computes is killed (SIGKILL).
 *   Failed requests out of all, and the longest time without a good answer
 * - `burst`: 2,000 requests at once. How many were answered, how many were refused (503, 429), how many failed otherwise
 *   or had no answer within 30 s
 * - `slow head`: a client that sends a byte of its head every second. When it is shown the door, if within 40 s
 * - `stop`: as `kill`, but the server is told to end (SIGTERM). Requests that were sent on a connection that was there,
 *   and failed; its exit
 *
 * bench/peers/main.ts says what PEERS is.
 */
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { Load, type Outcome, one, poolOf, post } from './faults-load.js';
import { servers } from './servers.js';
import { type Performance, pictures, Stage } from './stage.js';

const slowHeadMs = 40_000;

const { values } = parseArgs({
  options: {
    python: { type: 'string' },
    peers: { type: 'string', default: 'mosec-onnxruntime,fastapi-onnxruntime-w2,torchserve' },
    json: { type: 'boolean', default: false },
  },
});
const { python } = values;
if (python === undefined) throw new RangeError('--python is missing: a Python that has bench/peers/requirements.txt');
const asked = ['vgg-serve', ...values.peers.split(',')];
const chosen = servers.filter(({ name }) => asked.includes(name));
const { type } = pictures['fashion-vgg'];
const picture = { type, bytes: await readFile(pictures['fashion-vgg'].path) };

const trials = { cut, bomb, kill, burst, 'slow head': slowHead, stop } as const;

const stage = await Stage.open(python, 'fashion-vgg');
try {
  for (const server of chosen) {
    for (const [name, trial] of Object.entries(trials)) {
      try {
        const seen = await stage.with(server, trial);
        console.log(
          values.json
            ? JSON.stringify({ server: server.name, trial: name, seen })
            : `${server.name} | ${name} | ${seen}`,
        );
      } catch (error) {
        console.error(`SKIPPED ${server.name} ${name}: ${(error as Error).message}`);
      }
    }
  }
} finally {
  await stage.close();
}

async function cut({ url }: Performance): Promise<string> {
  return said(await one(url, { type, bytes: picture.bytes.subarray(0, picture.bytes.length / 2) }));
}

async function bomb({ url, tree }: Performance): Promise<string> {
  const side = 13_000;
  const blank = sharp({ create: { width: side, height: side, channels: 3, background: '#888' } });
  const bytes = await blank.png({ compressionLevel: 9, palette: true, colours: 2 }).toBuffer();
  const before = tree.pss();
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, tree.pss());
  }, 20);
  const startedAt = performance.now();
  const outcome = await one(url, { type: 'image/png', bytes });
  clearInterval(watch);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(2);
  return `${said(outcome)} after ${seconds} s, ${Math.round((peak - before) / 1e6)} MB more (${bytes.length} bytes)`;
}

async function kill({ url, tree }: Performance): Promise<string> {
  const load = new Load(url, picture);
  await sleep(2_000);
  process.kill(tree.worker, 'SIGKILL');
  await sleep(8_000);
  const { requests, failed, longestGapMs } = await load.end();
  const gap = Math.max(longestGapMs, performance.now() - load.lastGoodAt);
  return `${failed} of ${requests} failed, ${(gap / 1000).toFixed(2)} s without a good answer`;
}

async function burst({ url }: Performance): Promise<string> {
  const pool = poolOf(url, 2_000);
  const outcomes = await Promise.all(Array.from({ length: 2_000 }, () => post(pool, url, picture)));
  await pool.destroy();
  const good = outcomes.filter((outcome) => outcome === 200).length;
  const refused = outcomes.filter((outcome) => outcome === 503 || outcome === 429).length;
  const others = [...new Set(outcomes.filter((outcome) => ![200, 503, 429].includes(outcome as number)))];
  const more = others.length > 0 ? `, ${2_000 - good - refused} otherwise (${others.map(said).join('; ')})` : '';
  return `${good} answered, ${refused} refused${more}`;
}

async function slowHead({ url }: Performance): Promise<string> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect(Number(port), hostname);
  const startedAt = performance.now();
  let heard = '';
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()).on('error', () => resolve()));
  socket.on('data', (bytes) => {
    heard += bytes;
  });
  const drip = setInterval(() => socket.write('x'), 1_000);
  socket.write(`POST ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\nX-Slow: `);
  const isClosed = await Promise.race([closed.then(() => true), sleep(slowHeadMs, false, { ref: false })]);
  clearInterval(drip);
  socket.destroy();
  if (!isClosed) return `still open after ${slowHeadMs / 1000} s`;
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  return `${/^HTTP\/1.1 (\d+)/.exec(heard)?.[1] ?? 'closed without an answer'} after ${seconds} s`;
}

async function stop({ url, tree }: Performance): Promise<string> {
  const load = new Load(url, picture);
  await sleep(2_000);
  tree.terminate();
  for (const end = Date.now() + 15_000; !tree.hasEnded && Date.now() < end; ) await sleep(20);
  const { requests, failedOnOpen } = await load.end();
  return `${failedOnOpen} of ${requests} failed, ${tree.hasEnded ? 'it ended' : 'it had not ended after 15 s'}`;
}

function said(outcome: Outcome): string {
  return String(outcome);
}
