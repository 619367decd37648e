import { constants, readFileSync } from 'node:fs';
import { access, stat, statfs } from 'node:fs/promises';
import { arch, cpus, freemem, platform, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { buildCommand } from '../addon-file.js';
import { availableCpus } from '../cpus.js';
import { notBuilt } from '../engines/choose.js';
import { precisions } from '../engines/engine.js';
import type { Capabilities } from '../engines/native/probe.js';
import type { GpuFinding } from '../engines/tfjs/gpu.js';
import { nativeResamples } from '../preprocessing/native-resample.js';
import type { Check } from './check.js';

/** @param version as `process.versions.node` has it */
export function checkNode(version: string, supported = supportedNode()): Check {
  const ok = inRange(version, supported);
  const seen = `${version}, supported is ${supported}`;
  return {
    name: 'node',
    ok,
    seen,
    ...(ok ? {} : { advice: `Install a Node ${supported}, the newest of them at best.` }),
  };
}

function supportedNode(): string {
  return JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')).engines.node;
}

/** A range of npm as package.json has it: bounds that must all hold, `>=20.19 <23`. */
function inRange(version: string, range: string): boolean {
  const [seen = 0, seenMinor = 0] = version.split('.').map(Number);
  return [...range.matchAll(/(>=|<)(\d+)(?:\.(\d+))?/g)].every(([, relation, major, minor = '0']) => {
    const isBelow = seen < Number(major) || (seen === Number(major) && seenMinor < Number(minor));
    return relation === '<' ? isBelow : !isBelow;
  });
}

/** Instructions that make convolutions fast, by the names that Linux gives them. */
const features = [
  'avx2',
  'fma',
  'avx512f',
  'avx512_vnni',
  'avx_vnni',
  'avx512_bf16',
  'amx_bf16',
  'asimd',
  'asimddp',
  'sve',
];

export function checkCpus(): Check {
  const all = cpus();
  const usable = availableCpus();
  const limited = usable < all.length ? ` of ${all.length}, as the cgroup or the affinity limits it` : '';
  const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(readText('/proc/cpuinfo'))?.[1]?.split(' ') ?? [];
  const found = features.filter((feature) => flags.includes(feature));
  const about = [`${platform()} ${arch()}`, all[0]?.model.trim(), found.join(' ')].filter(Boolean);
  return { name: 'cpus', ok: true, seen: `${usable}${limited}; ${about.join('; ')}` };
}

/** VGG-16 needs 1.1 times its 553 MB; less than this is not enough for the smallest of the catalogue. */
const leastMemory = 256e6;

export function checkMemory(): Check {
  const limit = process.constrainedMemory();
  const total = totalmem();
  const usable = Math.min(process.availableMemory?.() ?? freemem(), total);
  const limited = limit > 0 && limit < total ? `, the cgroup allows ${gigabytes(limit)}` : '';
  const ok = usable >= leastMemory;
  const advice =
    'Give it more: 1 GB for one network of the catalogue. Docker: --memory; Kubernetes: resources.limits.memory.';
  return {
    name: 'memory',
    ok,
    seen: `${gigabytes(usable)} available of ${gigabytes(total)}${limited}`,
    ...(ok ? {} : { advice }),
  };
}

/** @param native what the native engine can do here, why it cannot be loaded, or undefined where it is not built */
export async function checkEngine(native: Capabilities | Error | undefined): Promise<Check> {
  const name = 'engine';
  let seen: string;
  try {
    const { env } = await import('onnxruntime-node');
    seen = `onnxruntime ${env.versions.node ?? 'of an unknown version'}, CPU`;
  } catch (error) {
    return notLoaded(name, 'onnxruntime-node', error);
  }
  if (native === undefined) return { name, ok: true, seen: `${seen}; ${notBuilt}` };
  if (!(native instanceof Error)) return { name, ok: true, seen: `native, CPU: ${inWords(native)}; ${seen}` };
  const [reason = ''] = native.message.split('\n');
  return { name, ok: false, seen: reason, advice: `Build it again on this machine: ${buildCommand}.` };
}

/** A GPU is nothing that a machine must have; where one is asked for, its model says what is missing. */
export function checkGpu(finding: GpuFinding): Check {
  if (!finding.usable) return { name: 'gpu', ok: true, seen: `none is used: ${finding.reason}` };
  const devices = finding.devices.map(
    ({ index, name, memoryMb, computeCapability }) =>
      `${index}: ${name}, ${memoryMb} MB for TensorFlow, compute capability ${computeCapability}`,
  );
  return { name: 'gpu', ok: true, seen: devices.join('; ') || 'TensorFlow uses one, and does not say which' };
}

/** `fp32 by avx512, avx2, baseline; bf16 does not run (...)` */
function inWords(native: Capabilities): string {
  return precisions
    .map((precision) => {
      const can = native[precision];
      if ('why' in can) return `no ${precision} (${can.why})`;
      return [precision, can.isas.join(', ')].filter(Boolean).join(' by ');
    })
    .join('; ');
}

export async function checkImages(): Promise<Check> {
  try {
    const { default: sharp } = await import('sharp');
    const [resample = 'in TypeScript'] = nativeResamples.keys();
    const seen = `sharp ${sharp.versions.sharp}, libvips ${sharp.versions.vips}; resample: ${resample}`;
    return { name: 'images', ok: true, seen };
  } catch (error) {
    return notLoaded('images', 'sharp', error);
  }
}

function notLoaded(name: string, part: string, error: unknown): Check {
  const [seen] = (error as Error).message.split('\n');
  const advice = `Install the packages again on this machine (npm ci): ${part} has a binary for each system and CPU.`;
  return { name, ok: false, seen: `${part} cannot be loaded: ${seen}`, advice };
}

/** Whether a folder can be written, or made where it is missing. Nothing is made or written. */
export async function checkFolder(name: string, folder: string, otherwise: string): Promise<Check> {
  try {
    const existing = await nearestExisting(folder);
    await access(existing, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = await statfs(existing);
    const made = existing === folder ? '' : ', which will be made';
    return { name, ok: true, seen: `${folder}${made}; ${gigabytes(bavail * bsize)} free` };
  } catch (error) {
    const advice = `Allow this user to write there, or ${otherwise} to a folder that can be written.`;
    return { name, ok: false, seen: `${folder} cannot be written: ${(error as Error).message}`, advice };
  }
}

async function nearestExisting(folder: string): Promise<string> {
  try {
    if ((await stat(folder)).isDirectory()) return folder;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(folder) !== folder) return await nearestExisting(dirname(folder));
    throw error;
  }
  throw new Error('it is no folder');
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
