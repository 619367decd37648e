import { deflateRawSync } from 'node:zlib';
import type { CheckpointReason } from '../../src/weights/checkpoint-error.js';
import {
  called,
  imported,
  Opcodes,
  opcodesOf,
  type Py,
  persistent,
  pickled,
  tuple,
} from '../weights/pickle-builder.js';
import { row, safetensorsFile } from '../weights/safetensors-builder.js';
import { stateDict, type TensorShape, type TorchZip, tensor, torchLegacy, torchZip } from '../weights/torch-builder.js';
import { type ZipPart, zipFile } from '../weights/zip-builder.js';
import { type HostileCase, noise } from './case.js';

export type CheckpointOutcome = 'read' | CheckpointReason;
export type HostileCheckpoint = HostileCase<CheckpointOutcome>;

type Row = readonly [name: string, outcome: CheckpointOutcome, make: () => Buffer];

function rows(kind: string, list: readonly Row[]): HostileCheckpoint[] {
  return list.map(([name, outcome, make]) => ({ kind, name, outcomes: [outcome], make }));
}

const weight = tensor({ shape: [4, 4] });
const data = noise(64);

/** A pickle in either container: what comes of it must not depend on that. */
function bothContainers(kind: string, list: readonly (readonly [string, CheckpointOutcome, () => Py])[]) {
  return [
    ...rows(
      kind,
      list.map(([name, outcome, make]): Row => [`zip: ${name}`, outcome, () => torchZip(make())]),
    ),
    ...rows(
      kind,
      list.map(([name, outcome, make]): Row => [`legacy: ${name}`, outcome, () => torchLegacy(make())]),
    ),
  ];
}

/** Names that would run a command, or code, or read another file, in Python. */
const dangerous = [
  'os.system',
  'posix.system',
  'nt.system',
  'os.popen',
  'builtins.eval',
  'builtins.exec',
  'builtins.__import__',
  'builtins.getattr',
  'builtins.open',
  '__builtin__.eval',
  'subprocess.Popen',
  'subprocess.check_output',
  'runpy._run_code',
  'importlib.import_module',
  'pickle.loads',
  'shutil.rmtree',
  'socket.create_connection',
  'webbrowser.open',
  'operator.attrgetter',
  'functools.partial',
  'codecs.decode',
  'torch.load',
  'torch.jit.load',
  'torch.hub.load',
  'torch.storage._load_from_bytes',
  'torch._utils._rebuild_device_tensor_from_numpy',
  'torch.utils._config_module.load_config',
  'torch.nn.modules.module.Module',
  'numpy.core.multiarray._reconstruct',
  'collections.OrderedDict.fromkeys',
  'collections.defaultdict',
];

/** Python that makes the file; nothing here ever runs it. */
export const payloadOf = (marker: string) => `touch ${marker}`;

function payloads(marker: string): HostileCheckpoint[] {
  const command = payloadOf(marker);
  const text = opcodesOf(command);
  return bothContainers('pickles that run something', [
    ...dangerous.map((name) => [`${name} is called`, 'unknown_global', () => called(name, command)] as const),
    [
      'os.system, by STACK_GLOBAL',
      'unknown_global',
      () => new Opcodes(opcodesOf('os'), opcodesOf('system'), '\x93', tuple(command).bytes, 'R'),
    ],
    ['os.system, named and not called', 'unknown_global', () => stateDict({ weight, hook: imported('os.system') })],
    [
      'os.system, in the state of a dict',
      'unknown_global',
      () => new Opcodes(called('collections.OrderedDict').bytes, called('os.system', command).bytes, 'b'),
    ],
    [
      'os.system, in a storage',
      'unknown_global',
      () => persistent(tuple('storage', imported('os.system'), '0', 'cpu', 16)),
    ],
    ['os.system, as a key', 'unknown_global', () => new Map<Py, Py>([[called('os.system', command), weight]])],
    ['INST', 'unknown_opcode', () => new Opcodes('(', text, 'ios\nsystem\n')],
    ['OBJ', 'unknown_opcode', () => new Opcodes('(', imported('collections.OrderedDict').bytes, text, 'o')],
    [
      'NEWOBJ',
      'unknown_opcode',
      () => new Opcodes(imported('collections.OrderedDict').bytes, tuple(command).bytes, '\x81'),
    ],
    ['NEWOBJ_EX', 'unknown_opcode', () => new Opcodes(imported('collections.OrderedDict').bytes, ')}\x92')],
    ['EXT1', 'unknown_opcode', () => new Opcodes('\x82\x01')],
    ['EXT2', 'unknown_opcode', () => new Opcodes('\x83\x01\0')],
    ['EXT4', 'unknown_opcode', () => new Opcodes('\x84\x01\0\0\0')],
    ['PERSID', 'unknown_opcode', () => new Opcodes('P0\n')],
    ['NEXT_BUFFER', 'unknown_opcode', () => new Opcodes('\x97')],
    [
      'BUILD with a __dict__ on a storage class',
      'pickle_malformed',
      () =>
        new Opcodes(
          imported('torch.FloatStorage').bytes,
          opcodesOf(new Map([['__call__', command]])),
          'b',
          tuple(command).bytes,
          'R',
        ),
    ],
    [
      'a call of what a call gave',
      'pickle_malformed',
      () => new Opcodes(called('torch.Size', tuple(1)).bytes, tuple(command).bytes, 'R'),
    ],
    ['a dunder of an allowed name', 'unknown_global', () => imported('collections.OrderedDict.__class__')],
    [
      'a name with a newline before it',
      'unknown_global',
      () => new Opcodes(opcodesOf('torch\n'), opcodesOf('FloatStorage'), '\x93'),
    ],
  ]);
}

const million = 1_000_000;

const bombs = bothContainers('pickle bombs', [
  ['half a million tuples in each other', 'no_state_dict', () => new Opcodes('N', Buffer.alloc(million / 2, 0x85))],
  ['a million tuples in each other', 'pickle_too_large', () => new Opcodes('N', Buffer.alloc(million, 0x85))],
  [
    'a quarter of a million lists in each other',
    'no_state_dict',
    () => new Opcodes(Buffer.alloc(million / 4, ']'), Buffer.alloc(million / 4 - 1, 'a')),
  ],
  ['170,000 dicts in each other', 'no_state_dict', () => new Opcodes('}', ...nestedDicts(170_000))],
  [
    'half a million dicts beside each other',
    'no_state_dict',
    () => new Opcodes('(', Buffer.alloc(million / 2, '}'), 't'),
  ],
  ['two million lists in each other', 'pickle_too_large', () => new Opcodes(Buffer.alloc(2 * million, ']'))],
  ['half a million marks', 'pickle_malformed', () => new Opcodes(Buffer.alloc(million / 2, '('))],
  ['a memo of half a million', 'no_state_dict', () => new Opcodes('N', Buffer.alloc(million / 2, 0x94))],
  ['2^64 values by doubling a list 64 times', 'no_state_dict', () => doubled(']', 'e', 64)],
  ['2^64 values by doubling a tuple 64 times', 'no_state_dict', () => doubled('', 't', 64)],
  [
    '2^64 values under the keys of a dict',
    'no_state_dict',
    () => stateDict({ state: doubled(']', 'e', 64), weight: 1 }),
  ],
  ['a list that holds itself', 'no_state_dict', () => new Opcodes(']q\0h\0a')],
  [
    'a dict that holds itself as its state dict',
    'no_state_dict',
    () => new Opcodes('}q\0', opcodesOf('state_dict'), 'h\0s'),
  ],
  [
    'one text of 1 MB as ten keys',
    'no_state_dict',
    () => new Map<Py, Py>(Array.from({ length: 10 }, (_, at): [Py, Py] => [`${at}${'x'.repeat(100_000)}`, 1])),
  ],
  ['a text of 2^31 bytes', 'truncated', () => new Opcodes('X\0\0\0\x80')],
  ['a text of 2^32 - 1 bytes', 'truncated', () => new Opcodes('X\xff\xff\xff\xff')],
  ['a text of 2^63 bytes', 'unknown_opcode', () => new Opcodes('\x8d', Buffer.alloc(8, 0x7f))],
  ['bytes of 2^32 - 1', 'truncated', () => new Opcodes('B\xff\xff\xff\xff')],
  ['bytes of 2^63', 'unknown_opcode', () => new Opcodes('\x8e', Buffer.alloc(8, 0x7f))],
  ['a text of a negative length, of Python 2', 'truncated', () => new Opcodes('T\xff\xff\xff\xff')],
  ['LONG4 of 2^31 - 1 bytes', 'unknown_opcode', () => new Opcodes('\x8b\xff\xff\xff\x7f')],
  ['LONG4 of a negative length', 'unknown_opcode', () => new Opcodes('\x8b\xff\xff\xff\xff')],
  [
    '10,000 LONG1 of 255 bytes',
    'no_state_dict',
    () =>
      new Opcodes(
        '(',
        ...Array.from({ length: 10_000 }, () => Buffer.concat([Buffer.of(0x8a, 255), Buffer.alloc(255, 0x7f)])),
        't',
      ),
  ],
  ['LONG of ten million digits', 'unknown_opcode', () => new Opcodes('L', '9'.repeat(1000), 'L\n')],
  ['a frame of 2^64 - 1 bytes', 'no_state_dict', () => new Opcodes('\x95', Buffer.alloc(8, 0xff), 'N')],
  ['a frame of no bytes', 'no_state_dict', () => new Opcodes('\x95', Buffer.alloc(8), 'N')],
  ['a memo at 2^32 - 1', 'no_state_dict', () => new Opcodes('Nr\xff\xff\xff\xff')],
  ['200,000 tensors of 64 axes, by their names alone', 'pickle_too_large', () => manyTensors(200_000)],
  ['65,536 tensors of 64 axes', 'read', () => manyTensors(65_536)],
]);

const wrongTensors: Readonly<Record<string, [CheckpointOutcome, TensorShape]>> = {
  'a negative stride': ['negative_size', { shape: [2], strides: [-1] }],
  'a negative stride of many bits': ['negative_size', { shape: [2], strides: [-(2n ** 70n)] }],
  'a negative offset': ['negative_size', { shape: [2], offset: -1 }],
  'a negative size': ['negative_size', { shape: [-2, -8], strides: [8, 1] }],
  'an offset past the end': ['out_of_range', { shape: [1], offset: 16, elements: 16 }],
  'an offset of 2^63': ['overflow', { shape: [1], offset: 2n ** 63n, elements: 16 }],
  '2^53 elements': ['overflow', { shape: [2n ** 53n], strides: [1], elements: 16 }],
  '2^60 elements that all are the same one': ['overflow', { shape: [2 ** 30, 2 ** 30], strides: [0, 0], elements: 16 }],
  'a storage of 2^53 elements': ['overflow', { shape: [2], elements: 2n ** 53n }],
  'a storage of 2^51 elements': ['out_of_range', { shape: [2], elements: 2 ** 50 }],
  'a product that wraps in 64 bits': ['overflow', { shape: [2n ** 32n, 2n ** 32n], strides: [0, 0], elements: 16 }],
  'int64 where the file has float32': ['out_of_range', { shape: [16], type: 'LongStorage' }],
  'a class that is no storage': ['pickle_malformed', { shape: [16], type: 'Size' }],
  '65 axes': ['pickle_malformed', { shape: Array(65).fill(1) }],
  'a key that climbs': ['storage_missing', { shape: [16], key: '../data.pkl' }],
  'a key with a NUL': ['storage_missing', { shape: [16], key: '0\0' }],
};

const tensors: HostileCheckpoint[] = [
  ...rows(
    'tensors',
    Object.entries(wrongTensors).map(
      ([name, [outcome, shape]]): Row => [
        `zip: ${name}`,
        outcome,
        () => torchZip(stateDict({ a: tensor(shape) }), { storages: { 0: data } }),
      ],
    ),
  ),
  ...rows('tensors', [
    [
      'two views that overlap',
      'read',
      () =>
        torchZip(stateDict({ a: tensor({ shape: [16] }), b: tensor({ shape: [8], offset: 4, elements: 16 }) }), {
          storages: { 0: data },
        }),
    ],
    [
      'one storage by two types',
      'storage_conflict',
      () => torchZip(stateDict({ a: tensor({ shape: [16] }), b: tensor({ shape: [8], type: 'LongStorage' }) })),
    ],
    [
      'one storage of two sizes',
      'storage_conflict',
      () => torchZip(stateDict({ a: tensor({ shape: [16] }), b: tensor({ shape: [8] }) })),
    ],
    [
      'legacy: a view that leaves its storage',
      'out_of_range',
      () => torchLegacy(stateDict({ a: tensor({ shape: [2], elements: 16, view: ['v', 10, 7] }) })),
    ],
    [
      'legacy: a storage of 2^62 elements before its data',
      'storage_conflict',
      () => torchLegacy(stateDict({ weight }), { storages: [{ data, count: 2n ** 62n }] }),
    ],
    [
      'legacy: two hundred thousand storage keys',
      'storage_conflict',
      () => torchLegacy(stateDict({ weight }), { keys: new Opcodes('(', Buffer.alloc(400_000, 'U\0'), 't') }),
    ],
  ]),
];

const archive = (options: TorchZip): Buffer => torchZip(stateDict({ weight }), { storages: { 0: data }, ...options });
const only = (name: string, part: Partial<ZipPart>): TorchZip => ({
  alter: (original) => (original.name === `archive/${name}` ? part : {}),
});
const extra = (name: string): TorchZip => ({ extraParts: [{ name, data }] });

const zips = rows('zip files', [
  ['a name twice', 'zip_corrupt', () => archive(extra('archive/data.pkl'))],
  ['a name that climbs', 'zip_corrupt', () => archive(extra('archive/../../etc/passwd'))],
  ['a folder that climbs', 'zip_corrupt', () => archive({ folder: '..' })],
  ['an absolute name', 'zip_corrupt', () => archive(extra('/etc/passwd'))],
  ['an absolute name of Windows', 'zip_corrupt', () => archive(extra('C:\\windows\\system.ini'))],
  ['a name that climbs as Windows does', 'zip_corrupt', () => archive(extra('archive\\..\\x'))],
  ['a name with a NUL', 'zip_corrupt', () => archive(extra('archive/a\0b'))],
  ['no name', 'zip_corrupt', () => archive(extra(''))],
  ['__proto__ as an entry', 'read', () => archive(extra('archive/__proto__'))],
  [
    'a local header of another name',
    'zip_corrupt',
    () => archive(only('data.pkl', { nameInLocalHeader: 'archive/data.pkk' })),
  ],
  ['a local header of another method', 'zip_corrupt', () => localField(archive({}), 8, 8)],
  ['a local header that says it is encrypted', 'zip_entry_encrypted', () => localField(archive({}), 6, 1)],
  ['a local header of another size', 'zip_corrupt', () => localField(archive({}), 22, 7)],
  ['a local header of another stored size', 'zip_corrupt', () => localField(archive({}), 18, 7)],
  ['a compressed data.pkl', 'zip_entry_compressed', () => archive(only('data.pkl', { method: 8 }))],
  [
    'a deflate bomb of 1 GB',
    'zip_entry_compressed',
    () =>
      archive({
        alter: ({ name }) =>
          name === 'archive/data.pkl'
            ? { method: 8, data: deflateRawSync(Buffer.alloc(4e6)), claimedBytes: 1e9, claimedCompressedBytes: 4000 }
            : {},
      }),
  ],
  ['an encrypted data.pkl', 'zip_entry_encrypted', () => archive(only('data.pkl', { flags: 1 }))],
  ['strong encryption', 'zip_entry_encrypted', () => archive(only('data/0', { flags: 0x41 }))],
  ['zip64: a size of 2^64 - 1', 'overflow', () => archive(only('data/0', { zip64: true, claimedBytes: 2 ** 63 }))],
  ['zip64: an offset of 2^62', 'overflow', () => archive(only('data/0', { zip64: true, claimedOffset: 2 ** 62 }))],
  ['zip64: a directory at 2^63', 'overflow', () => archive({ zip64: true, claimedDirectoryOffset: 2n ** 63n })],
  ['zip64: an end record that is elsewhere', 'zip_corrupt', () => locator(archive({ zip64: true }), 0n)],
  ['zip64: an end record at 2^60', 'overflow', () => locator(archive({ zip64: true }), 2n ** 60n)],
  ['zip64: an end record past the end', 'truncated', () => locator(archive({ zip64: true }), 2n ** 40n)],
  ['more entries counted than there are', 'zip_corrupt', () => archive({ claimedCount: 65_535 })],
  ['a directory that is the file itself', 'zip_corrupt', () => archive({ claimedDirectoryOffset: 0n })],
  ['two storages in the same bytes', 'zip_entries_overlap', () => overlapping()],
  ['a storage that is data.pkl', 'zip_corrupt', () => archive(only('data/0', { claimedOffset: 0 }))],
  ['two end records, the second of another archive', 'zip_corrupt', () => Buffer.concat([archive({}), archive({})])],
  [
    'an end record in the comment',
    'zip_corrupt',
    () => archive({ comment: `PK\x05\x06${'\0'.repeat(4)}\x01\0\x01\0${'\x10\0\0\0'.repeat(2)}\0\0` }),
  ],
  ['a comment that is cut', 'truncated', () => archive({ comment: 'x'.repeat(9) }).subarray(0, -3)],
  ['100,000 empty entries', 'read', () => archive({ zip64: true, extraParts: manyEntries(100_000) })],
  ['no torch in it', 'not_a_torch_zip', () => zipFile([{ name: 'word/document.xml', data }])],
  ['a pickle of 5 MB', 'pickle_too_large', () => archive({ pickle: Buffer.alloc(5e6, 'N') })],
  ['TorchScript', 'torchscript', () => archive(extra('archive/code/__torch__.py'))],
]);

const whole = { a: row([16], 0, 64) };

const safetensors = rows('safetensors', [
  ['a header of 2^63 bytes', 'not_a_checkpoint', () => safetensorsFile(whole, data, 2n ** 63n)],
  ['a header of 2^55 bytes', 'header_too_large', () => safetensorsFile(whole, data, 2n ** 55n)],
  ['a header of 100 MB', 'header_too_large', () => safetensorsFile(whole, data, 100_000_000n)],
  ['a header longer than the file', 'truncated', () => safetensorsFile(whole, data, 4_000_000n)],
  ['a header of 0 bytes', 'header_malformed', () => safetensorsFile(Buffer.from('{'), data, 0n)],
  [
    'a name twice',
    'header_malformed',
    () => safetensorsFile(Buffer.from(`{"a":${JSON.stringify(whole.a)},"a":${JSON.stringify(whole.a)}}`), data),
  ],
  [
    'a name twice, once with an escape',
    'header_malformed',
    () => safetensorsFile(Buffer.from(`{"a":${JSON.stringify(whole.a)},"\\u0061":${JSON.stringify(whole.a)}}`), data),
  ],
  [
    'a field twice',
    'header_malformed',
    () => safetensorsFile(Buffer.from('{"a":{"dtype":"F32","shape":[99],"shape":[16],"data_offsets":[0,64]}}'), data),
  ],
  [
    'metadata twice',
    'header_malformed',
    () => safetensorsFile(Buffer.from(`{"__metadata__":{},"__metadata__":{},"a":${JSON.stringify(whole.a)}}`), data),
  ],
  ['overlapping tensors', 'ranges_overlap', () => safetensorsFile({ a: row([12], 0, 48), b: row([8], 32, 64) }, data)],
  ['a hole', 'ranges_gap', () => safetensorsFile({ a: row([4], 0, 16), b: row([8], 32, 64) }, data)],
  ['a tensor past the end', 'truncated', () => safetensorsFile({ a: row([32], 0, 128) }, data)],
  ['bytes that no one owns', 'bytes_left_over', () => safetensorsFile({ a: row([4], 0, 16) }, data)],
  ['an offset of 2^60', 'overflow', () => safetensorsFile({ a: row([2], 2 ** 60, 2 ** 60 + 8) }, data)],
  [
    'an offset of 1e999',
    'header_malformed',
    () => safetensorsFile(Buffer.from('{"a":{"dtype":"F32","shape":[16],"data_offsets":[0,1e999]}}'), data),
  ],
  ['a negative offset', 'negative_size', () => safetensorsFile({ a: row([2], -8, 0) }, data)],
  ['a shape that wraps in 64 bits', 'overflow', () => safetensorsFile({ a: row([2 ** 32, 2 ** 32], 0, 0) }, data)],
  [
    'a shape of a million sizes',
    'header_malformed',
    () => safetensorsFile({ a: row(Array(million).fill(1), 0, 4) }, data),
  ],
  ['3 MB of metadata', 'read', () => safetensorsFile({ __metadata__: { note: 'x'.repeat(3e6) }, ...whole }, data)],
  [
    '20 MB of metadata',
    'header_too_large',
    () => safetensorsFile({ __metadata__: { note: 'x'.repeat(20e6) }, ...whole }, data),
  ],
  [
    'half a million keys of metadata',
    'header_too_large',
    () =>
      safetensorsFile(
        { __metadata__: Object.fromEntries(Array.from({ length: 500_000 }, (_, at) => [`k${at}`, ''])), ...whole },
        data,
      ),
  ],
  [
    '80,000 tensors',
    'header_too_large',
    () => safetensorsFile(Object.fromEntries(Array.from({ length: 80_000 }, (_, at) => [`t${at}`, row([0], 0, 0)]))),
  ],
  [
    'lists in each other, a million deep',
    'header_malformed',
    () => safetensorsFile(Buffer.from(`{"a":${'['.repeat(million)}${']'.repeat(million)}}`), data),
  ],
  [
    'objects in each other, half a million deep',
    'header_malformed',
    () => safetensorsFile(Buffer.from(`{"a":${'{"a":'.repeat(500_000)}1${'}'.repeat(500_001)}`), data),
  ],
  [
    '__proto__ as a tensor',
    'read',
    () => safetensorsFile(Buffer.from(`{"__proto__":${JSON.stringify(whole.a)}}`), data),
  ],
  [
    '__proto__ as the fields of a tensor',
    'header_malformed',
    () => safetensorsFile(Buffer.from(`{"a":{"__proto__":${JSON.stringify(whole.a)}}}`), data),
  ],
  ['constructor as a type', 'unsupported_dtype', () => safetensorsFile({ a: row([16], 0, 64, 'constructor') }, data)],
]);

const others = rows('other files', [
  ['nothing', 'empty_file', () => Buffer.alloc(0)],
  ['a page', 'html_page', () => Buffer.from('<!doctype html><title>Log in</title>')],
  ['a pointer of Git LFS', 'git_lfs_pointer', () => Buffer.from('version https://git-lfs.github.com/spec/v1\n')],
  ['a pickle by itself', 'not_a_torch_pickle', () => pickled(called('os.system', 'true'))],
  ['an ELF program', 'not_a_checkpoint', () => Buffer.from('\x7fELF\x02\x01\x01', 'latin1')],
  ['a million bytes of noise', 'not_a_checkpoint', () => noise(million)],
  ['legacy: only the magic number', 'truncated', () => Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex')],
]);

/** @param marker what the payloads would make, by a name without spaces */
export function hostileCheckpoints(marker: string): HostileCheckpoint[] {
  return [...payloads(marker), ...bombs, ...tensors, ...zips, ...safetensors, ...others];
}

/** {None: {None: ...}} */
function nestedDicts(depth: number): Buffer[] {
  return [Buffer.alloc(2 * (depth - 1), 'N}'), Buffer.from('NN'), Buffer.alloc(depth, 's')];
}

/** A container of two times the one before. */
function doubled(begin: string, end: string, times: number): Opcodes {
  const level = (at: number) =>
    Buffer.from(
      `${begin}(h${String.fromCharCode(at)}h${String.fromCharCode(at)}${end}q${String.fromCharCode(at + 1)}`,
      'latin1',
    );
  return new Opcodes('Nq\0', ...Array.from({ length: times }, (_, at) => level(at)));
}

function manyTensors(count: number): Opcodes {
  const first = tensor({ shape: Array(64).fill(1), elements: 16 });
  const name = (at: number) => Buffer.from(`U\x04${at.toString(36).padStart(4, '0')}h\0`, 'latin1');
  return new Opcodes(first.bytes, 'q\0}(', Buffer.concat(Array.from({ length: count }, (_, at) => name(at))), 'u');
}

function manyEntries(count: number): ZipPart[] {
  return Array.from({ length: count }, (_, at) => ({ name: `archive/x/${at}`, data: Buffer.alloc(0) }));
}

/** In the first local header. */
function localField(bytes: Buffer, offset: number, value: number): Buffer {
  bytes.writeUInt8(value, offset);
  return bytes;
}

function locator(bytes: Buffer, offset: bigint): Buffer {
  bytes.writeBigUInt64LE(offset, bytes.lastIndexOf('PK\x06\x07') + 8);
  return bytes;
}

/** The bytes of storage 0 are the local header of storage 1 and its data. */
function overlapping(): Buffer {
  const inner = zipFile([{ name: 'archive/data/1', data }]);
  const object = stateDict({ a: tensor({ shape: [20] }), b: tensor({ shape: [16], key: '1' }) });
  const zip = (offset: number) =>
    torchZip(object, {
      storages: { 0: inner.subarray(0, 128), 1: data },
      alter: ({ name }) => (name === 'archive/data/1' ? { claimedOffset: offset } : {}),
    });
  return zip(zip(0).indexOf('PK\x03\x04', zip(0).indexOf('archive/data/0')));
}
