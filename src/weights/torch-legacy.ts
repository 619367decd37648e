import type { TensorEntry } from '../tensor.js';
import { type Blame, CheckpointError } from './checkpoint-error.js';
import type { ByteRange, CheckpointFile } from './checkpoint-file.js';
import { kindOf, type Value } from './pickle-values.js';
import { findStateDict, indexTensors, storageBytes } from './state-dict.js';
import { type Storages, unpickleTorch } from './torch-pickle.js';
import { largestPickle } from './unpickler.js';

const version = 1001;
const firstWindow = 64 << 10;
const countBytes = 8;

/**
 * What torch.save wrote until version 1.5: five pickles back to back (magic number, version, system, object, storage
 * keys), then for each key the number of elements (int64) and the data. Source: torch/serialization.py, `_legacy_save`.
 * Bytes after the last storage are ignored, as torch ignores them: several saves in one file are allowed.
 */
export async function readTorchLegacy(file: CheckpointFile): Promise<TensorEntry[]> {
  const { object, storages, keys, end } = await readPickles(file);
  const tensors = findStateDict(object, file.blame);
  const data = new Map<string, ByteRange>();
  let byteOffset = end;
  for (const key of keys) {
    if (data.has(key)) throw file.blame('storage_conflict', `The data of storage ${key} are there twice.`);
    const range = await readStorage(file, storages, key, byteOffset);
    data.set(key, range);
    byteOffset = range.byteOffset + range.byteLength;
  }
  return indexTensors(tensors, data, file.blame);
}

interface Pickles {
  readonly object: Value;
  readonly storages: Storages;
  readonly keys: readonly string[];
  readonly end: number;
}

/** Nothing says how long the pickles are: a window from the file's start grows until they fit. */
async function readPickles(file: CheckpointFile): Promise<Pickles> {
  for (let window = firstWindow; window <= largestPickle; window *= 4) {
    const bytes = await file.read(0, Math.min(window, file.byteLength));
    try {
      return unpickleAll(bytes, file.blame);
    } catch (error) {
      const cut = error instanceof CheckpointError && error.reason === 'truncated' && bytes.length < file.byteLength;
      if (!cut) throw error;
    }
  }
  throw file.blame('pickle_too_large', 'The pickles do not end.');
}

function unpickleAll(bytes: Buffer, blame: Blame): Pickles {
  const magic = unpickleTorch(bytes, 0, blame);
  const protocol = unpickleTorch(bytes, magic.end, blame);
  if (protocol.value !== version)
    throw blame(
      'not_a_torch_pickle',
      `The version is ${typeof protocol.value === 'number' ? protocol.value : kindOf(protocol.value)}.`,
    );
  const system = unpickleTorch(bytes, protocol.end, blame);
  if (!(system.value instanceof Map) || system.value.get('little_endian') !== true)
    throw blame('big_endian', 'The file does not say that it is little-endian.');
  const object = unpickleTorch(bytes, system.end, blame);
  const keys = unpickleTorch(bytes, object.end, blame);
  if (!isStrings(keys.value)) throw blame('pickle_malformed', `The storage keys are ${kindOf(keys.value)}.`);
  return { object: object.value, storages: object.storages, keys: keys.value, end: keys.end };
}

async function readStorage(
  file: CheckpointFile,
  storages: Storages,
  key: string,
  byteOffset: number,
): Promise<ByteRange> {
  const storage = storages.get(key);
  if (!storage) throw file.blame('storage_conflict', `No tensor says what storage ${key} is.`);
  const count = (await file.read(byteOffset, countBytes)).readBigInt64LE();
  if (count !== BigInt(storage.elements))
    throw file.blame(
      'storage_conflict',
      `Storage ${key} has ${storage.elements} elements, and ${count} before its data.`,
    );
  const range = { byteOffset: byteOffset + countBytes, byteLength: storageBytes(storage, file.blame) };
  if (range.byteOffset + range.byteLength > file.byteLength)
    throw file.blame(
      'truncated',
      `Storage ${key} ends at byte ${range.byteOffset + range.byteLength}, the file at ${file.byteLength}.`,
    );
  return range;
}

function isStrings(value: Value): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
