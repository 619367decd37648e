import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { temporaryFolder } from './temporary-files.js';
import { stateDict, type TorchZip, tensor, torchZip } from './torch-builder.js';
import type { ZipPart } from './zip-builder.js';

const folder = temporaryFolder();
const weights = stateDict({ weight: tensor({ shape: [16] }) });
const data = Buffer.from(Float32Array.from({ length: 16 }, (_, at) => at + 0.5).buffer);

const rightFiles: Readonly<Record<string, TorchZip>> = {
  'as plain as can be': {},
  'with a folder of any name': { folder: 'größe 1.0 (kopie)' },
  'with byteorder little': { byteorder: 'little' },
  'with padding before the data': { alter: () => ({ padding: 45 }) },
  'with data descriptors': { alter: () => ({ dataDescriptor: true }) },
  'with a zip64 end record': { zip64: true },
  'with sizes in the zip64 extra field': { zip64: true, alter: () => ({ zip64: true }) },
  'with a comment that ends the file': { comment: 'x'.repeat(60_000) },
  'with a comment that looks like an end record': { comment: 'PK\x05\x06'.padEnd(40, '.') },
  'with entries that nobody needs, even compressed': {
    extraParts: [{ name: 'archive/.data/serialization_id', data: Buffer.from('1'), method: 8 }],
  },
};

const wrongFiles: Readonly<Record<string, [TorchZip, reason: string]>> = {
  'an entry twice': [{ extraParts: [{ name: 'archive/data/0', data }] }, 'zip_corrupt'],
  'two sizes for a stored entry': [only('data/0', { claimedCompressedBytes: 63 }), 'zip_corrupt'],
  'another name in the local header': [only('data/0', { nameInLocalHeader: 'archive/data/1' }), 'zip_corrupt'],
  'no local header where the directory points': [only('data/0', { claimedOffset: 3 }), 'zip_corrupt'],
  'an offset outside the file': [only('data/0', { claimedOffset: 1 << 30 }), 'out_of_range'],
  'a size that leaves the file': [only('data/0', { claimedBytes: 1 << 30 }), 'out_of_range'],
  'a size beyond 2^53': [only('data/0', { zip64: true, claimedBytes: 2 ** 60 }), 'overflow'],
  'a size of data.pkl that leaves the file': [only('data.pkl', { claimedBytes: 1 << 30 }), 'out_of_range'],
  'a size of data.pkl that cuts it': [only('data.pkl', { claimedBytes: 20 }), 'zip_corrupt'],
  'no size although it is said to be in the extra field': [
    only('data/0', { claimedBytes: 0xffff_ffff }),
    'zip_corrupt',
  ],
  'more entries counted than there are': [{ claimedCount: 9 }, 'zip_corrupt'],
  'a directory outside the file': [{ claimedDirectoryOffset: 1n << 31n }, 'zip_corrupt'],
  'a directory somewhere else': [{ claimedDirectoryOffset: 0n }, 'zip_corrupt'],
  'a directory beyond 2^53': [{ zip64: true, claimedDirectoryOffset: 1n << 60n }, 'overflow'],
  'a zip64 end record that is missing': [{ claimedDirectoryOffset: 0xffff_ffffn }, 'zip_corrupt'],
  'an unknown byte order': [{ byteorder: 'middle' }, 'big_endian'],
  'code of TorchScript': [{ extraParts: [{ name: 'archive/code/a.py', data }] }, 'torchscript'],
};

describe('readCheckpoint of a zip file', () => {
  for (const [what, options] of Object.entries(rightFiles))
    it(`reads one ${what}`, async () => {
      const bytes = torchZip(weights, { storages: { 0: data }, ...options });
      const { container, tensors } = await readCheckpoint(folder.write(bytes));
      assert.equal(container, 'zip');
      assert.equal(tensors[0]?.byteOffset, bytes.indexOf(data));
    });

  for (const [what, [options, reason]] of Object.entries(wrongFiles))
    it(`refuses ${what}`, async () => {
      const path = folder.write(torchZip(weights, { storages: { 0: data }, ...options }));
      await assert.rejects(readCheckpoint(path), { name: 'CheckpointError', reason });
    });

  it('refuses a zip file without entries', async () => {
    const end = Buffer.from(`PK\x03\x04PK\x05\x06${'\0'.repeat(12)}\x04${'\0'.repeat(5)}`);
    await assert.rejects(readCheckpoint(folder.write(end)), { reason: 'not_a_torch_zip' });
  });
});

function only(name: string, part: Partial<ZipPart>): TorchZip {
  return { alter: (original) => (original.name === `archive/${name}` ? part : {}) };
}
