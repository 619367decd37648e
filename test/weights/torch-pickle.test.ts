import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { called, imported, Opcodes, opcodesOf, type Py, persistent, pickled, tuple } from './pickle-builder.js';
import { temporaryFolder } from './temporary-files.js';
import { stateDict, storage, type TensorShape, tensor, torchZip } from './torch-builder.js';

const folder = temporaryFolder();
const weight = tensor({ shape: [4, 4] });

describe('readCheckpoint of a pickle', () => {
  for (const key of ['state_dict', 'model_state_dict', 'model'])
    it(`takes the state dict under ${key}, and leaves what lies beside it`, async () => {
      const object = new Map<Py, Py>([
        ['epoch', 3],
        ['best_acc1', tensor({ shape: [], key: '1' })],
        [key, stateDict({ weight })],
        ['lr', 0.1],
        ['seed', 2n ** 70n],
        ['arch', null],
        ['flags', tuple(true, false, -1, '√')],
        ['scheduler', called('collections.Counter', new Map<Py, Py>([[30, 1]]))],
        ['size', called('torch.Size', tuple(3, 4))],
        ['device', called('torch.device', 'cuda', 0)],
        ['optimizer', stateDict({ state: new Map([[0, stateDict({ step: tensor({ shape: [], key: '2' }) })]]) })],
      ]);
      assert.deepEqual(await namesIn(object), ['weight']);
    });

  it('takes the module. off that DataParallel puts before every name', async () => {
    assert.deepEqual(await namesIn(stateDict({ 'module.a': weight, 'module.b': weight })), ['a', 'b']);
  });

  it('leaves module. on when a single name is without it', async () => {
    assert.deepEqual(await namesIn(stateDict({ 'module.a': weight, b: weight })), ['module.a', 'b']);
  });

  it('leaves out what is no tensor', async () => {
    assert.deepEqual(await namesIn(stateDict({ a: weight, version: 3, note: 'x' })), ['a']);
  });

  it('reads an OrderedDict of Python 3, with its _metadata', async () => {
    const dict = new Opcodes(called('collections.OrderedDict').bytes, '(', opcodesOf('a'), weight.bytes, 'u');
    const metadata = stateDict({ _metadata: stateDict({ '': stateDict({ version: 1 }) }) });
    assert.deepEqual(await namesIn(new Opcodes(dict.bytes, opcodesOf(metadata), 'b')), ['a']);
  });

  it('reads an OrderedDict of Python 2: byte strings, and its items as a list of pairs', async () => {
    const name = new Opcodes('U\x01a');
    const long = new Opcodes('T\x01\0\0\0b');
    const dict = called('collections.OrderedDict', [
      [name, weight],
      [long, weight],
    ]);
    assert.deepEqual(await namesIn(dict), ['a', 'b']);
  });

  it('reads tensors as torch 0.3 writes them: _rebuild_tensor with four arguments', async () => {
    const old = called('torch._utils._rebuild_tensor', storage({ shape: [4] }), 0, tuple(2, 2), tuple(2, 1));
    assert.deepEqual((await read(stateDict({ a: old })))[0]?.shape, [2, 2]);
  });

  it('reads Parameters, with and without attributes', async () => {
    const hooks = called('collections.OrderedDict');
    const a = called('torch._utils._rebuild_parameter', weight, true, hooks);
    const b = called('torch._utils._rebuild_parameter_with_state', weight, true, hooks, stateDict({ tag: 'x' }));
    assert.deepEqual(
      (await read(stateDict({ a, b }))).map(({ shape }) => shape),
      [
        [4, 4],
        [4, 4],
      ],
    );
  });

  it('reads a tensor with empty metadata, and refuses one to be conjugated or negated', async () => {
    const args = [storage({ shape: [4] }), 0, tuple(4), tuple(1), false, called('collections.OrderedDict')];
    const withMetadata = (metadata: Py) =>
      stateDict({ a: called('torch._utils._rebuild_tensor_v2', ...args, metadata) });
    assert.equal((await read(withMetadata(new Map()))).length, 1);
    await assert.rejects(read(withMetadata(new Map<Py, Py>([['neg', true]]))), { reason: 'pickle_malformed' });
  });

  it('gives two tensors on one storage the same bytes', async () => {
    const [a, b] = await read(stateDict({ a: weight, b: tensor({ shape: [2], offset: 3, elements: 16 }) }));
    assert.equal(b?.byteOffset, (a?.byteOffset ?? 0) + 12);
  });

  it('counts the bytes that strides reach', async () => {
    const [transposed, stepped, expanded, empty, scalar] = await read(
      stateDict({
        transposed: tensor({ shape: [4, 2], strides: [1, 4], elements: 16 }),
        stepped: tensor({ shape: [3], strides: [5], offset: 1, elements: 16 }),
        expanded: tensor({ shape: [9, 2], strides: [0, 1], elements: 16 }),
        empty: tensor({ shape: [0, 5], elements: 16 }),
        scalar: tensor({ shape: [], offset: 15, elements: 16 }),
      }),
    );
    assert.deepEqual(
      [transposed, stepped, expanded, empty, scalar].map((entry) => entry?.byteLength),
      [32, 44, 8, 0, 4],
    );
    assert.deepEqual(transposed?.strides, [1, 4]);
  });

  it('knows every dtype by its storage class', async () => {
    const types = ['Double', 'Float', 'Half', 'BFloat16', 'Long', 'Int', 'Short', 'Char', 'Byte', 'Bool'];
    const tensors = types.map((type) => [type, tensor({ shape: [2], type: `${type}Storage`, key: type })] as const);
    const storages = Object.fromEntries(types.map((type) => [type, new Uint8Array(16)]));
    const entries = await read(stateDict(Object.fromEntries(tensors)), storages);
    assert.deepEqual(
      entries.map(({ dtype, byteLength }) => `${dtype} ${byteLength / 2}`),
      [
        'float64 8',
        'float32 4',
        'float16 2',
        'bfloat16 2',
        'int64 8',
        'int32 4',
        'int16 2',
        'int8 1',
        'uint8 1',
        'bool 1',
      ],
    );
  });

  it('reads protocols 3 to 5', async () => {
    const bytes = new Opcodes('C\x02ab', 'B\x02\0\0\0cd', '\x86').bytes;
    for (const protocol of [3, 4, 5]) {
      const pickle = pickled(stateDict({ weight, bytes: new Opcodes(bytes) }), protocol);
      assert.equal((await readCheckpoint(folder.write(torchZip(null, { pickle })))).tensors.length, 1);
    }
  });

  it('reads FRAME, MEMOIZE, SHORT_BINUNICODE and STACK_GLOBAL of protocol 4', async () => {
    const dict = new Opcodes(
      ...['\x95\0\0\0\0\0\0\0\0', '\x8c\x0bcollections', '\x94', '\x8c\x0bOrderedDict', '\x93', '\x94', ')R'],
      ...['\x8c\x01a', weight.bytes, 's', '\x8c\x01b', weight.bytes, 's'],
    );
    assert.deepEqual(await namesIn(dict), ['a', 'b']);
  });

  it('reads the memo, by short and long index', async () => {
    const dict = new Opcodes('}', opcodesOf('a'), weight.bytes, 'q\x07s', opcodesOf('b'), 'h\x07', 'r\0\x01\0\0s');
    const twice = new Opcodes(dict.bytes, opcodesOf('c'), 'j\0\x01\0\0s');
    assert.deepEqual(await namesIn(twice), ['a', 'b', 'c']);
  });

  it('reads a list that holds itself', async () => {
    assert.deepEqual(await namesIn(stateDict({ a: weight, loop: new Opcodes(']q\x01h\x01a') })), ['a']);
  });

  const wrongTensors: Readonly<Record<string, [TensorShape, reason: string]>> = {
    'negative stride': [{ shape: [2], strides: [-1] }, 'negative_size'],
    'negative offset': [{ shape: [2], offset: -1 }, 'negative_size'],
    'negative storage': [{ shape: [2], elements: -2 }, 'negative_size'],
    'size beyond 2^53': [{ shape: [2n ** 60n], strides: [1], elements: 16 }, 'overflow'],
    'stride beyond 2^53': [{ shape: [2], strides: [2n ** 60n] }, 'overflow'],
    'reach beyond 2^53': [{ shape: [2 ** 20, 2], strides: [2 ** 50, 1], elements: 16 }, 'overflow'],
    'elements beyond 2^53, then none': [{ shape: [2 ** 30, 2 ** 30, 0], elements: 16 }, 'overflow'],
    'storage beyond 2^53 bytes': [{ shape: [2], elements: 2 ** 52 }, 'overflow'],
    'reach beyond the storage': [{ shape: [2], strides: [16], elements: 16 }, 'out_of_range'],
    'offset beyond the storage, no elements': [{ shape: [0], offset: 17, elements: 16 }, 'out_of_range'],
    'storage beyond its entry': [{ shape: [17] }, 'out_of_range'],
    'fewer strides than sizes': [{ shape: [2, 2], strides: [1] }, 'pickle_malformed'],
  };
  for (const [what, [options, reason]] of Object.entries(wrongTensors))
    it(`refuses a tensor: ${what}`, async () => {
      await assert.rejects(read(stateDict({ a: tensor(options) })), { reason });
    });

  const args = (length: number) => Array.from({ length }, () => null);
  const wrongPickles: Readonly<Record<string, [Py, reason: string]>> = {
    'a value is missing': [new Opcodes('s'), 'pickle_malformed'],
    'a mark is missing': [new Opcodes('t'), 'pickle_malformed'],
    'a list is missing': [new Opcodes('N(Ne'), 'pickle_malformed'],
    'a dict is missing': [new Opcodes(']NNs'), 'pickle_malformed'],
    'a key without its value': [new Opcodes('}(Nu'), 'pickle_malformed'],
    'an empty memo': [new Opcodes('h\0'), 'pickle_malformed'],
    'nothing to remember': [new Opcodes('q\0'), 'pickle_malformed'],
    'no value at its end': [new Opcodes(''), 'pickle_malformed'],
    'a global of no strings': [new Opcodes('NN\x93'), 'pickle_malformed'],
    'a call of what is no function': [new Opcodes('])R'), 'pickle_malformed'],
    'a call of a storage class': [called('torch.FloatStorage', 3), 'pickle_malformed'],
    'a call without a tuple': [new Opcodes(imported('torch.Size').bytes, 'NR'), 'pickle_malformed'],
    '_rebuild_tensor with five arguments': [called('torch._utils._rebuild_tensor', ...args(5)), 'pickle_malformed'],
    '_rebuild_tensor_v2 of nothing': [called('torch._utils._rebuild_tensor_v2', ...args(6)), 'pickle_malformed'],
    'an OrderedDict of numbers': [called('collections.OrderedDict', [1, 2]), 'pickle_malformed'],
    'a persistent id that is a number': [persistent(1), 'pickle_malformed'],
    'a persistent module': [persistent(tuple('module', null, null, null, null)), 'pickle_malformed'],
    'a storage without class': [persistent(tuple('storage', null, '0', 'cpu', 1)), 'pickle_malformed'],
    'a global outside the table': [imported('builtins.eval'), 'unknown_global'],
    'a global of the same name elsewhere': [imported('evil.OrderedDict'), 'unknown_global'],
    'a global without end': [new Opcodes('ccollections'), 'truncated'],
    'a string longer than the file': [new Opcodes('X\xff\xff\xff\xff'), 'truncated'],
    'no dict': [tuple(weight), 'no_state_dict'],
  };
  for (const [what, [object, reason]] of Object.entries(wrongPickles))
    it(`refuses a pickle: ${what}`, async () => {
      await assert.rejects(read(object), { name: 'CheckpointError', reason });
    });

  for (const protocol of [0, 1, 6])
    it(`refuses protocol ${protocol}`, async () => {
      const path = folder.write(torchZip(null, { pickle: pickled(stateDict({ weight }), protocol) }));
      await assert.rejects(readCheckpoint(path), { reason: 'pickle_malformed' });
    });

  it('refuses a pickle of half a million opcodes', async () => {
    await assert.rejects(read(new Opcodes(Buffer.alloc(1 << 19, ']'))), { reason: 'pickle_too_large' });
  });

  it('refuses a tensor of more axes than torch allows', async () => {
    await assert.rejects(read(stateDict({ a: tensor({ shape: Array(65).fill(1) }) })), { reason: 'pickle_malformed' });
  });

  it('makes no dicts out of nothing: each pair of a list goes into one', async () => {
    const dict = (list: Opcodes) => new Opcodes(imported('collections.OrderedDict').bytes, '(', list.bytes, 'tR');
    const list = new Opcodes(opcodesOf([['a', weight]]), 'q\x05');
    assert.deepEqual(await namesIn(stateDict({ model: dict(list), again: dict(new Opcodes('h\x05')) })), ['a']);
    await assert.rejects(namesIn(stateDict({ other: dict(list), model: dict(new Opcodes('h\x05')) })), {
      reason: 'no_state_dict',
    });
  });

  it('keeps the message short when a name is long', async () => {
    await assert.rejects(read(imported(`os.${'x'.repeat(1 << 20)}`)), (error: Error) => error.message.length < 20_000);
  });
});

async function read(object: Py, storages?: Record<string, Uint8Array>) {
  const path = folder.write(torchZip(object, storages ? { storages } : {}));
  return (await readCheckpoint(path)).tensors;
}

async function namesIn(object: Py): Promise<string[]> {
  return (await read(object)).map(({ name }) => name);
}
