import { called, imported, type Opcodes, type Py, persistent, pickled, tuple } from './pickle-builder.js';
import { type ZipOptions, type ZipPart, zipFile } from './zip-builder.js';

export interface TensorShape {
  readonly shape: readonly (number | bigint)[];
  readonly strides?: readonly (number | bigint)[];
  readonly offset?: number | bigint;
  /** @default '0' */
  readonly key?: string;
  /** @default 'FloatStorage' */
  readonly type?: string;
  /** Of the storage. @default the product of the shape */
  readonly elements?: number | bigint;
  /** (key, offset, elements), for legacy files. */
  readonly view?: readonly [string, number, number];
}

/** A tensor as torch pickles it since version 0.4. */
export function tensor(options: TensorShape): Opcodes {
  const { shape, strides = rowMajor(shape), offset = 0 } = options;
  const hooks = called('collections.OrderedDict');
  return called(
    'torch._utils._rebuild_tensor_v2',
    storage(options),
    offset,
    tuple(...shape),
    tuple(...strides),
    false,
    hooks,
  );
}

export function storage({ shape, key = '0', type = 'FloatStorage', elements, view }: TensorShape): Opcodes {
  const count = elements ?? shape.reduce<number>((product, extent) => product * Number(extent), 1);
  const named: Py[] = ['storage', imported(`torch.${type}`), key, 'cpu', count];
  return persistent(tuple(...named, ...(view ? [tuple(...view)] : [])));
}

export function stateDict(tensors: Readonly<Record<string, Py>>): ReadonlyMap<Py, Py> {
  return new Map(Object.entries(tensors));
}

export interface TorchZip extends ZipOptions {
  readonly folder?: string;
  readonly pickle?: Buffer;
  readonly byteorder?: string;
  /** By key. */
  readonly storages?: Readonly<Record<string, Uint8Array>>;
  /** What every entry is besides; `alter` changes some of them. */
  readonly alter?: (part: ZipPart) => Partial<ZipPart>;
  readonly extraParts?: readonly ZipPart[];
}

/** What torch.save writes since version 1.6. */
export function torchZip(object: Py, options: TorchZip = {}): Buffer {
  const { folder = 'archive', pickle = pickled(object), byteorder, storages = { 0: new Uint8Array(64) } } = options;
  const parts: ZipPart[] = [
    { name: `${folder}/data.pkl`, data: pickle },
    ...(byteorder === undefined ? [] : [{ name: `${folder}/byteorder`, data: Buffer.from(byteorder) }]),
    ...Object.entries(storages).map(([key, data]) => ({ name: `${folder}/data/${key}`, data })),
    ...(options.extraParts ?? []),
  ];
  return zipFile(
    parts.map((part) => ({ ...part, ...options.alter?.(part) })),
    options,
  );
}

export interface TorchLegacy {
  readonly version?: number;
  readonly littleEndian?: boolean;
  readonly keys?: Py;
  readonly protocol?: number;
  /** In the order of their keys. The count is the number of float32 in the data unless it is given. */
  readonly storages?: readonly { readonly data: Uint8Array; readonly count?: bigint }[];
}

/** What torch.save wrote until version 1.5. */
export function torchLegacy(object: Py, options: TorchLegacy = {}): Buffer {
  const { version = 1001, littleEndian = true, keys = ['0'], protocol = 2 } = options;
  const storages = options.storages ?? [{ data: new Uint8Array(64) }];
  return Buffer.concat([
    Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex'),
    pickled(version, protocol),
    pickled(new Map<Py, Py>([['little_endian', littleEndian]]), protocol),
    pickled(object, protocol),
    pickled(keys, protocol),
    ...storages.flatMap(({ data, count = BigInt(data.length / 4) }) => [int64(count), data]),
  ]);
}

function rowMajor(shape: TensorShape['shape']): number[] {
  return shape.map((_, axis) => shape.slice(axis + 1).reduce<number>((product, extent) => product * Number(extent), 1));
}

function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  return bytes;
}
