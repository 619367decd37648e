import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { elementCount } from '../tensor.js';

/** A float32 tensor that comes piece by piece. */
export interface TensorToWrite {
  readonly name: string;
  readonly shape: readonly number[];
  /** In C order. A chunk is written before the next one is asked for, so that a generator may use one array again. */
  readonly chunks: Iterable<Float32Array> | AsyncIterable<Float32Array>;
}

const floatBytes = 4;
const headerAlignment = 8;

/**
 * Writes a safetensors file of float32 tensors, in the order given, with no more memory than a chunk. The file appears
 * under its name only when it is whole and on the disk; of several writers the last one wins.
 * Throws RangeError when the chunks of a tensor do not add up to its shape.
 */
export async function writeSafetensors(path: string, tensors: readonly TensorToWrite[]): Promise<void> {
  const temporaryPath = `${path}.${randomUUID()}.tmp`;
  const handle = await open(temporaryPath, 'wx');
  try {
    await handle.writeFile(headerOf(tensors));
    for (const tensor of tensors) await writeTensor(handle, tensor);
    await handle.sync();
    await handle.close();
    await rename(temporaryPath, path);
  } catch (error) {
    await handle.close();
    await rm(temporaryPath, { force: true });
    throw error;
  }
}

/** The length (uint64), then JSON, padded with spaces so that the data begin at a multiple of 8. */
function headerOf(tensors: readonly TensorToWrite[]): Buffer {
  let end = 0;
  const rows = tensors.map(({ name, shape }) => {
    const begin = end;
    end += elementCount(shape) * floatBytes;
    return [name, { dtype: 'F32', shape, data_offsets: [begin, end] }] as const;
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(rows)));
  const padding = Buffer.alloc(-json.length & (headerAlignment - 1), ' ');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length + padding.length));
  return Buffer.concat([length, json, padding]);
}

async function writeTensor(handle: FileHandle, { name, shape, chunks }: TensorToWrite): Promise<void> {
  let written = 0;
  for await (const chunk of chunks) {
    await handle.writeFile(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    written += chunk.length;
  }
  const needed = elementCount(shape);
  if (written !== needed) throw new RangeError(`${name} has ${needed} elements, its chunks have ${written}`);
}
