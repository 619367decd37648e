import {
  called,
  imported,
  Opcodes,
  opcodesOf,
  type Py,
  persistent,
  pickled,
  tuple,
} from '../test/weights/pickle-builder.js';
import { safetensorsFile } from '../test/weights/safetensors-builder.js';
import { stateDict, storage, type TensorShape, tensor, torchLegacy, torchZip } from '../test/weights/torch-builder.js';
import type { ZipPart } from '../test/weights/zip-builder.js';
import { jsonText, mutateJson } from './json.js';
import { interesting, mutateBytes } from './mutate.js';
import type { Random } from './random.js';

/** A checkpoint in which something is wrong: made by the builders with wrong numbers, or one of `pool` with other bytes. */
export function checkpointBytes(random: Random, pool: readonly Buffer[]): Buffer {
  if (random.once(3)) return mutateBytes(random, random.pick(pool), pool);
  const bytes = random.pick([zipBytes, zipBytes, legacyBytes, safetensorsBytes])(random);
  return random.once(4) ? mutateBytes(random, bytes, pool) : bytes;
}

const keys = ['0', '1', '2', '__proto__', '../0', '', 'é'];
const storageTypes = [
  'FloatStorage',
  'HalfStorage',
  'BFloat16Storage',
  'DoubleStorage',
  'LongStorage',
  'BoolStorage',
  'ComplexFloatStorage',
  'QInt8Storage',
  'NoStorage',
];
const count = (random: Random): number | bigint =>
  random.pick<() => number | bigint>([
    () => random.below(9),
    () => random.below(9),
    () => random.pick(interesting),
    () => -random.below(9),
    () => 2 ** 53 - 1,
    () => 2n ** BigInt(random.between(53, 120)),
    () => -(2n ** 63n),
  ])();

/** The names of a small VGG, so that the recogniser goes on, and others. */
const tensorNames = [
  'features.0.weight',
  'features.0.bias',
  'features.3.weight',
  'features.3.bias',
  'classifier.0.weight',
  'classifier.0.bias',
  'classifier.3.weight',
  'classifier.3.bias',
  'classifier.6.weight',
  'classifier.6.bias',
  'features.1.running_mean',
  'features.1.weight',
  'features.99999999999.weight',
  'features.1e9.weight',
  'module.features.0.weight',
  'conv1.weight',
  'layer1.0.conv1.weight',
  'layer1.0.conv2.weight',
  'layer1.0.conv3.weight',
  'layer9.999999999.conv1.weight',
  'layer4.2.bn3.bias',
  'fc.weight',
  'fc.bias',
  '__proto__',
  '',
  'state_dict',
];
/** Shapes of those names that fit together. */
const fitting: ReadonlyMap<string, readonly number[]> = new Map(
  Object.entries({
    'features.0.weight': [2, 3, 3, 3],
    'features.0.bias': [2],
    'classifier.0.weight': [4, 2],
    'classifier.0.bias': [4],
    'classifier.3.weight': [4, 4],
    'classifier.3.bias': [4],
    'classifier.6.weight': [2, 4],
    'classifier.6.bias': [2],
  }),
);

function shapeOf(random: Random): (number | bigint)[] {
  return Array.from({ length: random.once(20) ? random.below(70) : random.below(5) }, () => count(random));
}

function someTensor(random: Random, name: string): Py {
  const shape = random.once(4) ? shapeOf(random) : [...(fitting.get(name) ?? [2, 2])];
  const options: TensorShape = {
    shape,
    ...(random.once(6) && { strides: shape.map(() => count(random)) }),
    ...(random.once(6) && { offset: count(random) }),
    ...(random.once(6) && { key: random.pick(keys) }),
    ...(random.once(6) && { type: random.pick(storageTypes) }),
    ...(random.once(6) && { elements: count(random) }),
    ...(random.once(9) && { view: [random.pick(keys), Number(count(random)), Number(count(random))] as const }),
  };
  return random.once(12) ? strangePy(random) : tensor(options);
}

const globals = [
  'os.system',
  'builtins.eval',
  'builtins.getattr',
  'torch.load',
  'collections.OrderedDict',
  'collections.Counter',
  'torch.Size',
  'torch.device',
  'torch._utils._rebuild_tensor',
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_parameter',
  'torch.FloatStorage',
  '__builtin__.__proto__',
  'torch.__proto__',
  'constructor.constructor',
];

function strangePy(random: Random): Py {
  return random.pick<() => Py>([
    () => null,
    () => random.once(2),
    () => count(random),
    () => 'x'.repeat(random.small(5000)),
    () => [],
    () => new Map(),
    () => imported(random.pick(globals)),
    () => called(random.pick(globals), ...Array.from({ length: random.below(8) }, () => count(random))),
    () => called(random.pick(globals), [tuple('a', 1), tuple(2, 3)]),
    () =>
      persistent(
        random.once(2)
          ? tuple('storage', imported('torch.FloatStorage'), random.pick(keys), 'cpu', count(random))
          : strangePy(random),
      ),
    () => storage({ shape: [4] }),
    () => deep(random),
    () => opcodeSoup(random),
  ])();
}

/** Marks, lists or tuples inside each other. */
function deep(random: Random): Opcodes {
  const depth = random.once(8) ? random.small(400_000) : random.small(3000);
  return random.pick([
    new Opcodes(Buffer.alloc(depth, '('), Buffer.alloc(depth, 't'), ')'),
    new Opcodes(']', Buffer.alloc(depth, '\x85')),
    new Opcodes('](', Buffer.alloc(depth, ']'), Buffer.alloc(depth, 'a'), 'e'),
    new Opcodes('N', Buffer.from('0000', 'hex'), Buffer.alloc(depth, 'N')),
  ]);
}

const opcodeBytes = Buffer.from(
  '()]}tuaesqrhjcRbQNKMJGXUTCB.\x80\x85\x86\x87\x88\x89\x8a\x8b\x8c\x93\x94\x95\x90\x8f\x8d\x8e0124',
  'latin1',
);

/** Opcodes with plausible operands, in any order: few of them are a pickle. */
function opcodeSoup(random: Random): Opcodes {
  const parts: Buffer[] = [];
  for (let length = 1 + random.small(60); length > 0; length--) {
    parts.push(
      random.pick<() => Buffer>([
        () => opcodesOf(random.below(300)),
        () => Buffer.from(['q'.charCodeAt(0), random.below(4)]),
        () => Buffer.from(['h'.charCodeAt(0), random.below(4)]),
        () => Buffer.from([opcodeBytes[random.below(opcodeBytes.length)] ?? 0]),
        () => imported(random.pick(globals)).bytes,
        () => opcodesOf(random.pick(tensorNames)),
        () => Buffer.from('(ta', 'latin1'),
        () => Buffer.from('}(', 'latin1'),
        () => Buffer.from([0x8a, random.small(255)]),
        () => random.bytes(random.below(6)),
      ])(),
    );
  }
  return new Opcodes(...parts);
}

function someStateDict(random: Random): Py {
  const names = random.once(3)
    ? Array.from({ length: random.small(12) }, () => random.pick(tensorNames))
    : [...fitting.keys()];
  let dict: Py = stateDict(Object.fromEntries(names.map((name) => [name, someTensor(random, name)])));
  if (random.once(6)) dict = new Map<Py, Py>([[random.pick(['state_dict', 'model', 'epoch']), dict]]);
  if (random.once(6)) dict = new Opcodes(opcodesOf(dict), 'q\0', random.pick(['h\0', '}b', 'Nb', 'R', '0']));
  return random.once(12) ? strangePy(random) : dict;
}

function zipBytes(random: Random): Buffer {
  const storages = Object.fromEntries(
    (random.once(4) ? Array.from({ length: random.below(4) }, () => random.pick(keys)) : ['0']).map((key) => [
      key,
      new Uint8Array(random.once(4) ? random.small(9000) : 256),
    ]),
  );
  const dict = someStateDict(random);
  return torchZip(dict, {
    storages,
    zip64: random.once(4),
    pickle: pickled(dict, random.once(8) ? random.below(256) : 2),
    ...(random.once(6) && { folder: random.pick(['', 'a/b', '..', '__proto__', 'archive\0', 'x'.repeat(300)]) }),
    ...(random.once(6) && { byteorder: random.pick(['little', 'big', '', 'LITTLE', 'l'.repeat(99)]) }),
    ...(random.once(8) && { comment: 'PK\x05\x06'.repeat(random.small(3000)) }),
    ...(random.once(8) && { claimedCount: random.pick(interesting) % 65_536 }),
    ...(random.once(8) && { claimedDirectoryOffset: BigInt(random.pick(interesting)) }),
    ...(random.once(6) && { extraParts: Array.from({ length: random.small(300) }, (_, at) => extraPart(random, at)) }),
    ...(random.once(3) && { alter: () => alteration(random) }),
  });
}

function extraPart(random: Random, at: number): ZipPart {
  return {
    name: random.pick([
      `archive/${at}`,
      'archive/data/0',
      'archive/constants.pkl',
      '../../x',
      'archive/.data/serialization_id',
    ]),
    data: random.bytes(random.small(40)),
  };
}

function alteration(random: Random): Partial<ZipPart> {
  return random.pick<() => Partial<ZipPart>>([
    () => ({}),
    () => ({ method: random.pick([0, 8, 12, 99]) }),
    () => ({ flags: random.below(65_536) }),
    () => ({ claimedBytes: random.pick(interesting) }),
    () => ({ claimedCompressedBytes: random.pick(interesting) }),
    () => ({ claimedOffset: random.pick(interesting) }),
    () => ({ claimedOffset: random.below(400) }),
    () => ({ nameInLocalHeader: random.pick(['other', '', '../x']) }),
    () => ({ padding: random.small(9000) }),
    () => ({ zip64: true, claimedBytes: random.pick(interesting) }),
    () => ({ dataDescriptor: true }),
  ])();
}

function legacyBytes(random: Random): Buffer {
  const options = {
    ...(random.once(6) && { version: random.pick(interesting) }),
    ...(random.once(8) && { littleEndian: false }),
    ...(random.once(5) && {
      keys: random.once(2) ? strangePy(random) : Array.from({ length: random.small(2000) }, () => random.pick(keys)),
    }),
    ...(random.once(8) && { protocol: random.below(256) }),
    ...(random.once(3) && {
      storages: Array.from({ length: random.below(4) }, () => ({
        data: new Uint8Array(random.small(900)),
        count: random.once(3) ? BigInt.asIntN(64, BigInt(count(random))) : 64n,
      })),
    }),
  };
  return torchLegacy(someStateDict(random), { storages: [{ data: new Uint8Array(256) }], ...options });
}

function safetensorsBytes(random: Random): Buffer {
  let at = 0;
  const rows = [...fitting].map(([name, shape]) => {
    const begin = at;
    at += 4 * shape.reduce((product, extent) => product * extent, 1);
    return [name, { dtype: 'F32', shape, data_offsets: [begin, at] }] as const;
  });
  let header: unknown = Object.fromEntries([
    ...(random.once(3) ? [['__metadata__', { format: 'pt' }] as const] : []),
    ...rows,
  ]);
  for (let times = random.small(3); times > 0; times--) header = mutateJson(random, header);
  const claimed = random.once(6) ? BigInt(random.pick(interesting)) : undefined;
  return safetensorsFile(jsonText(random, header), new Uint8Array(random.once(6) ? random.small(9000) : at), claimed);
}
