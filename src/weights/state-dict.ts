import { type Dtype, dtypeSizes, type TensorEntry } from '../tensor.js';
import { checkedProduct, checkedSize } from './checked-size.js';
import type { Blame } from './checkpoint-error.js';
import type { ByteRange } from './checkpoint-file.js';
import { kindOf, type Storage, Tensor, type Value } from './pickle-values.js';

/** Where training scripts put the state dict beside the epoch and the optimizer; the second is PyTorch's own tutorial's. */
const wrapperKeys = ['state_dict', 'model_state_dict', 'model'];
/** A few bytes of a pickle name a tensor of 64 axes again, and each name becomes a row of the index. */
const mostTensors = 65_536;
const dataParallelPrefix = 'module.';

/** Finds the tensors of the state dict in what torch.save was given. Throws CheckpointError `no_state_dict`, `pickle_too_large`. */
export function findStateDict(root: Value, blame: Blame): Map<string, Tensor> {
  if (!(root instanceof Map)) throw blame('no_state_dict', `The file holds ${kindOf(root)}.`);
  const wrapped = wrapperKeys.map((key) => root.get(key)).find((value) => value instanceof Map);
  const tensors = new Map<string, Tensor>();
  for (const [name, value] of wrapped ?? root)
    if (typeof name === 'string' && value instanceof Tensor) tensors.set(name, value);
  if (tensors.size > mostTensors) throw blame('pickle_too_large', `The state dict has ${tensors.size} tensors.`);
  if (tensors.size > 0) return tensors;
  const keys = [...root.keys()].slice(0, 10).map((key) => (typeof key === 'string' ? key : kindOf(key)));
  throw blame('no_state_dict', `The file holds a dict without tensors (its keys: ${keys.join(', ') || 'none'}).`);
}

/**
 * One row of the index for each tensor, every size checked.
 * @param storages where the data of each storage lie, by its key
 * Throws CheckpointError `storage_missing`, `negative_size`, `overflow` or `out_of_range`.
 */
export function indexTensors(
  tensors: ReadonlyMap<string, Tensor>,
  storages: ReadonlyMap<string, ByteRange>,
  blame: Blame,
): TensorEntry[] {
  const entries = [...tensors].map(([name, tensor]) => {
    const data = storages.get(tensor.storage.key);
    if (!data) throw blame('storage_missing', `Storage ${tensor.storage.key} of ${name} is not in the file.`);
    return indexTensor(name, tensor, data, blame);
  });
  return withoutDataParallel(entries);
}

/** Takes the `module.` off that DataParallel puts before every name. */
export function withoutDataParallel(entries: readonly TensorEntry[]): TensorEntry[] {
  const parallel = entries.every(({ name }) => name.startsWith(dataParallelPrefix));
  return entries.map((entry) => (parallel ? { ...entry, name: entry.name.slice(dataParallelPrefix.length) } : entry));
}

function indexTensor(name: string, tensor: Tensor, data: ByteRange, blame: Blame): TensorEntry {
  const { storage } = tensor;
  const dtype = storage.dtype as Dtype; // unpickleTorch refuses the others
  const offset = checkedSize(tensor.offset, `The storage offset of ${name}`, blame);
  const shape = tensor.shape.map((extent) => checkedSize(extent, `A size of ${name}`, blame));
  const strides = tensor.strides.map((stride) => checkedSize(stride, `A stride of ${name}`, blame));
  const reach = checkedReach(name, shape, strides, blame);
  if (offset + reach > storage.elements)
    throw blame(
      'out_of_range',
      `${name} needs elements ${offset} to ${offset + reach} of a storage that has ${storage.elements}.`,
    );
  const byteOffset = data.byteOffset + (storage.viewOffset + offset) * dtypeSizes[dtype];
  return { name, dtype, shape, strides, byteOffset, byteLength: reach * dtypeSizes[dtype] };
}

/** Elements from the first to just past the last that the strides reach. */
function checkedReach(name: string, shape: readonly number[], strides: readonly number[], blame: Blame): number {
  const count = checkedProduct(shape, `The number of elements of ${name}`, blame);
  if (count === 0) return 0;
  const last = shape.reduce(
    (sum, extent, axis) => checkedSize(sum + (extent - 1) * (strides[axis] ?? 0), `The reach of ${name}`, blame),
    0,
  );
  return last + 1;
}

/** Bytes of a whole storage. Throws CheckpointError `overflow`. */
export function storageBytes(storage: Storage, blame: Blame): number {
  const size = dtypeSizes[storage.dtype as Dtype];
  return checkedProduct([storage.elements, size], `The bytes of storage ${storage.key}`, blame);
}
