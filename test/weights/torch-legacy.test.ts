import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { Opcodes, type Py } from './pickle-builder.js';
import { temporaryFolder } from './temporary-files.js';
import { stateDict, type TorchLegacy, tensor, torchLegacy } from './torch-builder.js';

const folder = temporaryFolder();
const weights = stateDict({ weight: tensor({ shape: [16] }) });

const wrongFiles: Readonly<Record<string, [options: TorchLegacy, reason: string, object?: Py]>> = {
  'version 1000': [{ version: 1000 }, 'not_a_torch_pickle'],
  'big-endian data': [{ littleEndian: false }, 'big_endian'],
  'storage keys that are no list of strings': [{ keys: [0] }, 'pickle_malformed'],
  'a storage that is not there': [{ keys: [], storages: [] }, 'storage_missing'],
  'a storage that no tensor names': [{ keys: ['0', '7'] }, 'storage_conflict'],
  'a storage twice': [{ keys: ['0', '0'] }, 'storage_conflict'],
  'another count before the data': [{ storages: [{ data: Buffer.alloc(64), count: 15n }] }, 'storage_conflict'],
  'a negative count before the data': [{ storages: [{ data: Buffer.alloc(64), count: -16n }] }, 'storage_conflict'],
  'data that end too early': [{ storages: [{ data: Buffer.alloc(63), count: 16n }] }, 'truncated'],
  'data without their count': [{ storages: [] }, 'truncated'],
  'a view that leaves its storage': [{}, 'out_of_range', viewed(['view', 10, 7])],
  'a view at a negative offset': [{}, 'negative_size', viewed(['view', -1, 2])],
  'pickles that do not end': [{}, 'pickle_too_large', stateDict({ note: 'x'.repeat(5 << 20) })],
};

describe('readCheckpoint of a legacy file', () => {
  it('finds each storage after those of the keys before it', async () => {
    const object = stateDict({ a: tensor({ shape: [2], key: 'x' }), b: tensor({ shape: [4], key: 'y' }) });
    const [first, second] = [Buffer.from('first...........'), Buffer.from('second..')];
    const bytes = torchLegacy(object, { keys: ['y', 'x'], storages: [{ data: first }, { data: second }] });
    const { tensors } = await readCheckpoint(folder.write(bytes));
    assert.deepEqual(
      tensors.map(({ byteOffset }) => byteOffset),
      [bytes.indexOf(second), bytes.indexOf(first)],
    );
  });

  it('counts the offset of a view', async () => {
    const bytes = torchLegacy(stateDict({ a: tensor({ shape: [16] }), b: viewedTensor(['view', 10, 6]) }));
    const [a, b] = (await readCheckpoint(folder.write(bytes))).tensors;
    assert.equal(b?.byteOffset, (a?.byteOffset ?? 0) + (10 + 1) * 4);
  });

  it('reads pickles that are larger than the first window', async () => {
    const object = stateDict({ state_dict: weights, note: 'x'.repeat(1 << 20) });
    assert.equal((await readCheckpoint(folder.write(torchLegacy(object)))).tensors.length, 1);
  });

  it('reads protocol 4', async () => {
    const frame = new Opcodes('\x95\x0d\0\0\0\0\0\0\0').bytes;
    const bytes = torchLegacy(weights, { protocol: 4 });
    const framed = Buffer.concat([Buffer.from([0x80, 4]), frame, bytes.subarray(2)]);
    assert.equal((await readCheckpoint(folder.write(framed))).container, 'legacy');
  });

  it('ignores what follows the last storage, as torch does', async () => {
    const bytes = Buffer.concat([torchLegacy(weights), torchLegacy(weights)]);
    assert.equal((await readCheckpoint(folder.write(bytes))).tensors.length, 1);
  });

  for (const [what, [options, reason, object = weights]] of Object.entries(wrongFiles))
    it(`refuses ${what}`, async () => {
      await assert.rejects(readCheckpoint(folder.write(torchLegacy(object, options))), {
        name: 'CheckpointError',
        reason,
      });
    });
});

function viewedTensor(view: readonly [string, number, number]): Py {
  return tensor({ shape: [2], offset: 1, elements: 16, view });
}

function viewed(view: readonly [string, number, number]): Py {
  return stateDict({ a: viewedTensor(view) });
}
