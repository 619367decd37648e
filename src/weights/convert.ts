import { createHash } from 'node:crypto';
import { mkdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { contiguousStrides, type TensorEntry, type TensorSource } from '../tensor.js';
import { type Checkpoint, readCheckpoint } from './checkpoint.js';
import { CheckpointError } from './checkpoint-error.js';
import { CheckpointFile } from './checkpoint-file.js';
import { type FloatDtype, isFloatDtype } from './float-formats.js';
import { readInOrder } from './gather.js';
import { writeSafetensors } from './safetensors-writer.js';

type FloatEntry = TensorEntry & { readonly dtype: FloatDtype };

/**
 * Tensors that an engine can read in place: float32 in C order. Those of the checkpoint that are so already stay where
 * they are. The others (float16, bfloat16, float64; transposed, channels_last) are converted once into a safetensors
 * file in `cacheDir`, which the next call finds again as long as the checkpoint is the same by path, size and time.
 * @param entries rows of the checkpoint's index; the result has their order
 * @param signal ends a conversion that is under way; nothing stays of it
 * Throws CheckpointError `unsupported_dtype` for an entry that holds no weights, or what the file system throws.
 */
export async function asFloat32(
  checkpoint: Checkpoint,
  entries: readonly TensorEntry[],
  cacheDir: string,
  signal?: AbortSignal,
): Promise<TensorSource[]> {
  const floats = entries.map((entry) => floatEntry(checkpoint, entry));
  const others = floats.filter((entry) => !isReadableInPlace(entry));
  const converted = others.length > 0 ? await convertOnce(checkpoint, others, cacheDir, signal) : new Map();
  return floats.map((entry) => converted.get(entry.name) ?? sourceOf(checkpoint.path, entry));
}

function floatEntry(checkpoint: Checkpoint, entry: TensorEntry): FloatEntry {
  const { dtype } = entry;
  if (isFloatDtype(dtype)) return { ...entry, dtype };
  throw new CheckpointError('unsupported_dtype', checkpoint.path, `${entry.name} has the dtype ${dtype}.`);
}

function isReadableInPlace({ dtype, shape, strides }: FloatEntry): boolean {
  const ordered = contiguousStrides(shape);
  return dtype === 'float32' && shape.every((extent, axis) => extent === 1 || strides[axis] === ordered[axis]);
}

function sourceOf(path: string, { name, shape, byteOffset, byteLength }: TensorEntry): TensorSource {
  return { name, shape, path, byteOffset, byteLength };
}

type Sources = ReadonlyMap<string, TensorSource>;

async function convertOnce(
  checkpoint: Checkpoint,
  entries: readonly FloatEntry[],
  cacheDir: string,
  signal: AbortSignal | undefined,
): Promise<Sources> {
  const path = join(cacheDir, await cacheName(checkpoint, entries));
  const found = await readConverted(path, entries);
  if (found) return found;
  await mkdir(cacheDir, { recursive: true });
  const file = await CheckpointFile.open(checkpoint.path);
  try {
    await writeSafetensors(
      path,
      entries.map((entry) => ({
        name: entry.name,
        shape: entry.shape,
        chunks: unlessAborted(signal, readInOrder(file, entry)),
      })),
    );
  } finally {
    await file.close();
  }
  const written = await readConverted(path, entries);
  if (!written) throw new Error(`${path}: the converted weights were changed while they were written`);
  return written;
}

async function* unlessAborted<T>(signal: AbortSignal | undefined, chunks: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    yield chunk;
  }
}

/** `vgg16-397923af-0123456789abcdef.safetensors`: the checkpoint's stem, then a hash of all that the result depends on. */
async function cacheName({ path }: Checkpoint, entries: readonly FloatEntry[]): Promise<string> {
  const { size, mtimeNs, ino } = await stat(path, { bigint: true });
  const key = JSON.stringify([path, `${size} ${mtimeNs} ${ino}`, entries]);
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 16);
  return `${basename(path, extname(path))}-${hash}.safetensors`;
}

/** Undefined when the file is absent, damaged or of other tensors: then it is written anew. */
async function readConverted(path: string, entries: readonly FloatEntry[]): Promise<Sources | undefined> {
  const cached = await readCheckpoint(path).catch((error: unknown) => {
    if (error instanceof CheckpointError) return undefined;
    throw error;
  });
  const sources = new Map(cached?.tensors.map((tensor) => [tensor.name, sourceOf(cached.path, tensor)]));
  const whole = entries.every(({ name, shape }) => String(sources.get(name)?.shape) === String(shape));
  return whole ? sources : undefined;
}
