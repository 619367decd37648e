import type { TensorEntry } from '../tensor.js';
import type { ByteRange, CheckpointFile } from './checkpoint-file.js';
import type { Tensor } from './pickle-values.js';
import { findStateDict, indexTensors, storageBytes } from './state-dict.js';
import { type Storages, unpickleTorch } from './torch-pickle.js';
import { largestPickle } from './unpickler.js';
import { locateEntry, readZipDirectory, type ZipDirectory } from './zip.js';

/**
 * What torch.save writes since version 1.6: a zip file with one folder of any name. In it data.pkl holds the object, its
 * tensors naming storages `0`, `1`, ..., and data/0, data/1, ... the bytes. Source: torch/serialization.py, `_save`.
 */
export async function readTorchZip(file: CheckpointFile): Promise<TensorEntry[]> {
  const directory = await readZipDirectory(file);
  const names = [...directory.entries.keys()];
  const folder = names[0]?.split('/', 1)[0] ?? '';
  if (names.some((name) => name === `${folder}/constants.pkl` || name.startsWith(`${folder}/code/`)))
    throw file.blame('torchscript', 'This is a TorchScript archive.');
  await refuseBigEndian(file, directory, `${folder}/byteorder`);

  const pickle = await locate(file, directory, `${folder}/data.pkl`);
  if (!pickle) throw file.blame('not_a_torch_zip', `The zip file has no ${folder}/data.pkl.`);
  if (pickle.byteLength > largestPickle)
    throw file.blame('pickle_too_large', `data.pkl has ${pickle.byteLength} bytes.`);
  const bytes = await file.read(pickle.byteOffset, pickle.byteLength);
  const { value, storages } = unpickleTorch(bytes, 0, file.blame);

  const tensors = findStateDict(value, file.blame);
  const data = await locateStorages(file, directory, folder, tensors, storages);
  refuseOverlaps(file, [{ name: 'data.pkl', range: pickle }, ...data.values()]);
  return indexTensors(tensors, new Map([...data].map(([key, { range }]) => [key, range])), file.blame);
}

interface NamedRange {
  readonly name: string;
  readonly range: ByteRange;
}

/** By key, those of the state dict; a storage without an entry is left to indexTensors, which names its tensor. */
async function locateStorages(
  file: CheckpointFile,
  directory: ZipDirectory,
  folder: string,
  tensors: ReadonlyMap<string, Tensor>,
  storages: Storages,
): Promise<Map<string, NamedRange>> {
  const used = new Set([...tensors.values()].map(({ storage }) => storage.key));
  const found = new Map<string, NamedRange>();
  for (const [key, storage] of storages) {
    const name = `data/${key}`;
    const range = used.has(key) ? await locate(file, directory, `${folder}/${name}`) : undefined;
    if (!range) continue;
    const needed = storageBytes(storage, file.blame);
    if (range.byteLength < needed)
      throw file.blame('out_of_range', `${name} has ${range.byteLength} bytes, its storage ${needed}.`);
    found.set(key, { name, range });
  }
  return found;
}

async function locate(file: CheckpointFile, directory: ZipDirectory, name: string): Promise<ByteRange | undefined> {
  const entry = directory.entries.get(name);
  return entry && (await locateEntry(file, directory, entry));
}

/** Files from before version 2.1 have no such entry and are little-endian. */
async function refuseBigEndian(file: CheckpointFile, directory: ZipDirectory, name: string): Promise<void> {
  const range = await locate(file, directory, name);
  if (!range) return;
  const order = (await file.read(range.byteOffset, Math.min(range.byteLength, 16))).toString('latin1');
  if (order !== 'little') throw file.blame('big_endian', `The byte order is ${JSON.stringify(order)}.`);
}

function refuseOverlaps(file: CheckpointFile, ranges: readonly NamedRange[]): void {
  let end = 0;
  for (const { name, range } of ranges.toSorted((a, b) => a.range.byteOffset - b.range.byteOffset)) {
    if (range.byteOffset < end) throw file.blame('zip_entries_overlap', `The entry ${name} begins in another one.`);
    end = range.byteOffset + range.byteLength;
  }
}
