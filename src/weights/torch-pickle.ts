import { type Dtype, dtypeSizes } from '../tensor.js';
import { checkedSize } from './checked-size.js';
import type { Blame } from './checkpoint-error.js';
import { Global, type Integer, isInteger, Storage, Tensor, type Value } from './pickle-values.js';
import { unpickle } from './unpickler.js';

const storageDtypes: Readonly<Record<string, string>> = {
  DoubleStorage: 'float64',
  FloatStorage: 'float32',
  HalfStorage: 'float16',
  BFloat16Storage: 'bfloat16',
  LongStorage: 'int64',
  IntStorage: 'int32',
  ShortStorage: 'int16',
  CharStorage: 'int8',
  ByteStorage: 'uint8',
  BoolStorage: 'bool',
  // Known, and refused by name.
  ComplexFloatStorage: 'complex64',
  ComplexDoubleStorage: 'complex128',
  QInt8Storage: 'qint8',
  QUInt8Storage: 'quint8',
  QInt32Storage: 'qint32',
  QUInt4x2Storage: 'quint4x2',
  QUInt2x4Storage: 'quint2x4',
} satisfies Record<string, Dtype | `complex${number}` | `q${string}`>;

/** As many as torch allows. */
const mostAxes = 64;

/** The closed table of what a pickle may import. */
const globals: ReadonlyMap<string, Global> = new Map(
  [
    new Global('collections.OrderedDict', dictOf),
    new Global('collections.Counter', dictOf),
    new Global('torch.Size', ([sizes]) => sizes),
    new Global('torch.device', ([name]) => name),
    new Global('torch._utils._rebuild_tensor', (args) => (args.length === 4 ? tensorOf(args) : undefined)),
    new Global('torch._utils._rebuild_tensor_v2', (args) => (isPlain(args) ? tensorOf(args) : undefined)),
    new Global('torch._utils._rebuild_parameter', ([tensor]) => tensor),
    new Global('torch._utils._rebuild_parameter_with_state', ([tensor]) => tensor),
    ...Object.keys(storageDtypes).map((name) => new Global(`torch.${name}`, () => undefined)),
  ].map((entry) => [entry.name, entry]),
);

/** Storages by key, each as the pickle first names it, without views. */
export type Storages = ReadonlyMap<string, Storage>;

/** Reads one pickle of a torch.save file. Throws CheckpointError. */
export function unpickleTorch(
  bytes: Buffer,
  start: number,
  blame: Blame,
): { value: Value; end: number; storages: Storages } {
  const storages = new Map<string, Storage>();
  const persistentLoad = (id: Value): Value => {
    const { root, storage } = storageOf(id, blame);
    const first = storages.get(root.key) ?? root;
    if (first.dtype !== root.dtype || first.elements !== root.elements)
      throw blame(
        'storage_conflict',
        `Storage ${root.key} is ${first.dtype} x ${first.elements} and also ${root.dtype} x ${root.elements}.`,
      );
    storages.set(root.key, first);
    return storage;
  };
  const globalOf = (name: string): Global | undefined => globals.get(name);
  return { ...unpickle(bytes, start, { globalOf, persistentLoad, blame }), storages };
}

/**
 * ('storage', class, key, location, elements), in legacy files also a view of it: None or (key, offset, elements).
 * The location (cpu, cuda:0) says where the tensors were, not how they are stored.
 */
function storageOf(id: Value, blame: Blame): { root: Storage; storage: Storage } {
  const malformed = () => blame('pickle_malformed', 'A storage is named in another form than torch names it.');
  if (!Array.isArray(id) || id.length < 5 || id.length > 6) throw malformed();
  const [typename, type, key, , elements, view = null] = id;
  const dtype = type instanceof Global ? storageDtypes[type.name.slice('torch.'.length)] : undefined;
  if (typename !== 'storage' || dtype === undefined || typeof key !== 'string' || !isInteger(elements))
    throw malformed();
  if (!(dtype in dtypeSizes)) throw blame('unsupported_dtype', `Storage ${key} has the dtype ${dtype}.`);
  const root = new Storage(key, dtype, 0, checkedSize(elements, `The size of storage ${key}`, blame));
  if (view === null) return { root, storage: root };

  const [viewKey, offset, viewElements] = Array.isArray(view) ? view : [];
  if (!isInteger(offset) || !isInteger(viewElements) || typeof viewKey !== 'string') throw malformed();
  const viewOffset = checkedSize(offset, `The offset of view ${viewKey}`, blame);
  const storage = new Storage(key, dtype, viewOffset, checkedSize(viewElements, `The size of view ${viewKey}`, blame));
  if (viewOffset + storage.elements > root.elements)
    throw blame('out_of_range', `View ${viewKey} leaves storage ${key}, which has ${root.elements} elements.`);
  return { root, storage };
}

/** (storage, offset, size, stride, ...) as torch/_utils.py's _rebuild_tensor takes them. */
function tensorOf([storage, offset, shape, strides]: readonly Value[]): Tensor | undefined {
  if (!(storage instanceof Storage) || !isInteger(offset)) return undefined;
  if (!isIntegers(shape) || !isIntegers(strides) || shape.length !== strides.length) return undefined;
  return new Tensor(storage, offset, shape, strides);
}

/** Six arguments; the seventh would say that the numbers are to be conjugated or negated when they are read. */
function isPlain(args: readonly Value[]): boolean {
  const metadata = args[6];
  return args.length === 6 || (args.length === 7 && metadata instanceof Map && metadata.size === 0);
}

/**
 * () or (items): Python 2 gives the items as a list of pairs, a Counter gives them as a dict. The pairs are moved, not
 * copied, so that a pickle cannot make much out of little by calling this again and again on one list.
 */
function dictOf([items = [], ...others]: readonly Value[]): Value | undefined {
  if (others.length > 0) return undefined;
  if (items instanceof Map) return items;
  if (!Array.isArray(items)) return undefined;
  const dict = new Map<Value, Value>();
  for (const item of items.splice(0)) {
    if (!Array.isArray(item) || item.length !== 2) return undefined;
    dict.set(item[0] as Value, item[1] as Value);
  }
  return dict;
}

function isIntegers(value: Value | undefined): value is Integer[] {
  return Array.isArray(value) && value.length <= mostAxes && value.every(isInteger);
}
