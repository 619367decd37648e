/**
 * What a picture costs on its way to the engine, and where it is better done: in the service's own thread or in a worker.
 *
 *     npm run bench:preprocessing
 *
 * The first table is one picture at a time, each step by everything that can do it. The second keeps eight pictures in
 * flight, all as the service does those that are not large or all in worker threads, and shows the longest time for which
 * the event loop stood still.
 */
import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { availableCpus } from '../src/cpus.js';
import { type CropJob, makeCrop, makeCropAtOnce } from '../src/preprocessing/crop.js';
import { decode } from '../src/preprocessing/decode.js';
import { Gate } from '../src/preprocessing/gate.js';
import type { Preset } from '../src/preprocessing/geometry.js';
import { readHeader } from '../src/preprocessing/header.js';
import { nativeResamples } from '../src/preprocessing/native-resample.js';
import { WorkerPool } from '../src/preprocessing/pool.js';
import { resample } from '../src/preprocessing/resample.js';
import { decodeSmallPng } from '../src/preprocessing/small-png.js';
import { machineLines, type Summary, summarise } from './machine.js';

const pictures = new URL('../../test/fixtures/images/', import.meta.url);
const photo = await readFile(new URL('rocket.jpg', pictures));
const large = await readFile(new URL('chelsea_12mp.jpg', pictures));
const thumbnail = (side: number) => sharp(photo).resize(side, side, { fit: 'fill' }).png().toBuffer();
const imagenet = { resize: 256, crop: 224 };

/** `rounds` is what takes a few seconds. */
const cases = [
  { what: '28 x 28 PNG, crop 32', job: cropJob(await thumbnail(28), { resize: 32, crop: 32 }), rounds: 2000 },
  { what: '64 x 64 PNG, crop 64', job: cropJob(await thumbnail(64), { resize: 64, crop: 64 }), rounds: 1000 },
  { what: '120 x 120 PNG, crop 224', job: cropJob(await thumbnail(120), imagenet), rounds: 500 },
  { what: '640 x 427 JPEG, crop 224', job: cropJob(photo, imagenet), rounds: 200 },
  { what: '4000 x 3000 JPEG, crop 224', job: cropJob(large, imagenet), rounds: 16 },
];
const threads = availableCpus();
const gate = new Gate(threads);
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
  console.log('| picture | step | n | min | median | p95 |\n|---|---|---|---|---|---|');
  for (const { what, job, rounds } of cases) {
    const { bytes, header, preset } = job;
    const decoded = await decode(bytes, header, false);
    const steps: Record<string, () => unknown> = {
      header: () => readHeader(bytes),
      'decode, libvips': () => decode(bytes, header, false),
      ...(header.format === 'PNG' && decodeSmallPng(bytes, header)
        ? { 'decode, small PNG': () => decodeSmallPng(bytes, header) }
        : {}),
      'resample, TypeScript': () => resample(decoded, preset),
      ...Object.fromEntries(
        [...nativeResamples].map(([isa, native]) => [`resample, ${isa}`, () => native(decoded, preset)]),
      ),
      'all, here': () => nearby(job),
      'all, in a worker thread': () => pool.run(job),
    };
    const times = new Map(Object.keys(steps).map((step) => [step, [] as number[]]));
    for (let round = -3; round < rounds / 2; round++) {
      for (const [step, run] of Object.entries(steps)) {
        const startedAt = performance.now();
        await run();
        if (round >= 0) times.get(step)?.push(performance.now() - startedAt); // Before that it is warm-up.
      }
    }
    for (const [step, ms] of times) console.log(`| ${what} | ${step} | ${columns(summarise(ms))} |`);
  }
}

/** As the service does what is not large. */
async function nearby(job: CropJob): Promise<Uint8Array> {
  return makeCropAtOnce(job) ?? (await gate.run(() => makeCrop(job)));
}

function columns({ n, min, median, p95 }: Summary): string {
  return `${n} | ${min.toFixed(3)} | ${median.toFixed(3)} | ${p95.toFixed(3)}`;
}

async function eightInFlight(): Promise<void> {
  const ways = { here: nearby, 'worker threads': (job: CropJob) => pool.run(job) };
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
          while (left-- > 0) {
            await run(job);
            await new Promise(setImmediate); // As each request comes by the event loop.
          }
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
