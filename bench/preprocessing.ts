/**
 * What a picture costs on its way to the engine, and where it is better done: on the main thread or in a worker thread.
 *
 *     npm run build && node dist/bench/preprocessing.js
 *
 * The first table is one picture at a time: decode (sharp) and resample (ours) apart. The second keeps eight pictures in
 * flight, all on the main thread or all in the threads, and shows the longest time for which the event loop stood still.
 */
import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { availableCpus } from '../src/cpus.js';
import { type CropJob, makeCrop } from '../src/preprocessing/crop.js';
import { decode } from '../src/preprocessing/decode.js';
import type { Preset } from '../src/preprocessing/geometry.js';
import { readHeader } from '../src/preprocessing/header.js';
import { WorkerPool } from '../src/preprocessing/pool.js';
import { resample } from '../src/preprocessing/resample.js';
import { machineLines, type Summary, summarise } from './machine.js';

const pictures = new URL('../../test/fixtures/images/', import.meta.url);
const photo = await readFile(new URL('rocket.jpg', pictures));
const large = await readFile(new URL('chelsea_12mp.jpg', pictures));
const thumbnail = (side: number) => sharp(photo).resize(side, side, { fit: 'fill' }).png().toBuffer();
const imagenet = { resize: 256, crop: 224 };

/** `rounds` is what takes a few seconds. */
const cases = [
  { what: '28 x 28 PNG, crop 32', job: cropJob(await thumbnail(28), { resize: 32, crop: 32 }), rounds: 2000 },
  { what: '120 x 120 PNG, crop 224', job: cropJob(await thumbnail(120), imagenet), rounds: 500 },
  { what: '170 x 170 PNG, crop 32', job: cropJob(await thumbnail(170), { resize: 32, crop: 32 }), rounds: 500 },
  { what: '640 x 427 JPEG, crop 224', job: cropJob(photo, imagenet), rounds: 200 },
  { what: '4000 x 3000 JPEG, crop 224', job: cropJob(large, imagenet), rounds: 16 },
];
const threads = availableCpus();
const pool = new WorkerPool<CropJob>(new URL('../src/preprocessing/worker.js', import.meta.url), threads);

console.log(machineLines(['sharp']));
console.log(`${threads} worker threads; ms\n`);
await oneAtATime();
console.log();
await eightInFlight();
await pool.close();

function cropJob(bytes: Uint8Array, preset: Preset): CropJob {
  return { bytes, header: readHeader(bytes), preset, exifOrientation: false };
}

async function oneAtATime(): Promise<void> {
  console.log('| picture | step | n | median | p95 |\n|---|---|---|---|---|');
  for (const { what, job, rounds } of cases) {
    const steps: Record<string, number[]> = { header: [], decode: [], resample: [], 'all, in a thread': [] };
    for (let round = -3; round < rounds / 2; round++) {
      const times = [performance.now()];
      const header = readHeader(job.bytes);
      times.push(performance.now());
      const decoded = await decode(job.bytes, header, false);
      times.push(performance.now());
      resample(decoded, job.preset);
      times.push(performance.now());
      await pool.run(job);
      times.push(performance.now());
      if (round < 0) continue; // warm-up
      for (const [step, ms] of Object.values(steps).entries()) ms.push((times[step + 1] ?? 0) - (times[step] ?? 0));
    }
    for (const [step, ms] of Object.entries(steps)) console.log(`| ${what} | ${step} | ${columns(summarise(ms))} |`);
  }
}

function columns({ n, median, p95 }: Summary): string {
  return `${n} | ${median.toFixed(3)} | ${p95.toFixed(3)}`;
}

async function eightInFlight(): Promise<void> {
  const ways = { 'main thread': makeCrop, threads: (job: CropJob) => pool.run(job) };
  console.log('| picture | where | pictures a second | longest standstill of the event loop |\n|---|---|---|---|');
  for (const { what, job, rounds } of cases) {
    const runs = Object.entries(ways).map(([where, run]) => ({
      where,
      run,
      rates: [] as number[],
      standstills: [] as number[],
    }));
    for (let repeat = 0; repeat < 5; repeat++) {
      for (const { run, rates, standstills } of runs) {
        const standstill = watchEventLoop();
        const startedAt = performance.now();
        let left = rounds;
        const lane = async () => {
          while (left-- > 0) await run(job);
        };
        await Promise.all(Array.from({ length: 8 }, lane));
        rates.push((1000 * rounds) / (performance.now() - startedAt));
        standstills.push(standstill());
      }
    }
    for (const { where, rates, standstills } of runs) {
      const [rate, ms] = [summarise(rates).median, summarise(standstills).median];
      console.log(`| ${what} | ${where} | ${rate.toFixed(0)} | ${ms.toFixed(1)} |`);
    }
  }
}

/** @returns a function that stops watching and tells the longest time between two ticks of 1 ms */
function watchEventLoop(): () => number {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - 1);
    last = now;
  }, 1);
  return () => {
    clearInterval(timer);
    return longest;
  };
}
