import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { StateDictEntry } from '../../src/tensor.js';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { CheckpointError, type CheckpointReason, checkpointReasons } from '../../src/weights/checkpoint-error.js';
import { matchStateDict } from '../../src/weights/match.js';
import { imported, Opcodes, type Py, pickled, tuple } from './pickle-builder.js';
import { row, safetensorsFile } from './safetensors-builder.js';
import { temporaryFolder } from './temporary-files.js';
import { stateDict, tensor, torchZip } from './torch-builder.js';
import { zipFile } from './zip-builder.js';

const folder = temporaryFolder();
const weights = stateDict({ weight: tensor({ shape: [4, 4] }) });
const zip = torchZip(weights);

/** The bytes of a file, or the path of one, that is wrong in this way alone; and what the message must say was seen. */
const wrongFiles: Readonly<Record<Exclude<CheckpointReason, 'state_dict_mismatch'>, [file: Buffer | string, RegExp]>> =
  {
    file_not_found: [join(folder.path, 'absent.pth'), /no such file/],
    file_unreadable: [linkToItself(), /cannot be opened \(ELOOP\)/],
    not_a_file: [folder.path, /a folder/],
    empty_file: [Buffer.alloc(0), /no bytes/],
    html_page: [Buffer.from('\n<!DOCTYPE html><html><body>Sign in</body></html>'), /HTML or XML/],
    git_lfs_pointer: [
      Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n'),
      /Git LFS pointer/,
    ],
    old_tar: [oldTar(), /tar archive/],
    not_a_checkpoint: [Buffer.from('\x89HDF\r\n\x1a\n', 'latin1'), /\(89 48 44 46 0d 0a 1a 0a\)/],
    truncated: [zip.subarray(0, -1), /no end record/],

    zip_corrupt: [torchZip(weights, { claimedCount: 3 }), /has 2 entries, its end record counts 3/],
    zip_entry_compressed: [altered('archive/data.pkl', { method: 8 }), /archive\/data\.pkl is compressed \(method 8\)/],
    zip_entry_encrypted: [altered('archive/data/0', { flags: 1 }), /archive\/data\/0 is encrypted/],
    zip_entries_overlap: [overlappingEntries(), /data\/1 begins in another/],
    not_a_torch_zip: [zipFile([{ name: 'notes/readme.txt', data: Buffer.from('hello') }]), /no notes\/data\.pkl/],
    torchscript: [
      torchZip(weights, { extraParts: [{ name: 'archive/constants.pkl', data: Buffer.from('.') }] }),
      /TorchScript/,
    ],
    big_endian: [torchZip(weights, { byteorder: 'big' }), /byte order is "big"/],

    not_a_torch_pickle: [pickled(new Map<Py, Py>([['a', 1]])), /pickle of another program/],
    unknown_opcode: [torchZip(null, { pickle: Buffer.from([0x80, 2, 0x82, 1, 0x2e]) }), /opcode 0x82/],
    unknown_global: [torchZip(stateDict({ a: imported('os.system') })), /imports "os\.system"/],
    pickle_malformed: [torchZip(new Opcodes('R')), /2 values are missing/],
    pickle_too_large: [torchZip(null, { pickle: Buffer.alloc((4 << 20) + 1) }), /4194305 bytes/],
    no_state_dict: [torchZip(stateDict({ net: stateDict({}), epoch: 3 })), /its keys: net, epoch/],
    storage_missing: [torchZip(weights, { storages: {} }), /Storage 0 of weight/],
    storage_conflict: [torchZip(twoOpinions()), /Storage 0 is float32 x 16 and also int64 x 16/],

    unsupported_dtype: [torchZip(stateDict({ a: tensor({ shape: [2], type: 'ComplexFloatStorage' }) })), /complex64/],
    out_of_range: [torchZip(stateDict({ a: tensor({ shape: [4, 4], offset: 1 }) })), /elements 1 to 17 .* has 16/],
    negative_size: [torchZip(stateDict({ a: tensor({ shape: [-1], elements: 16 }) })), /A size of a is -1/],
    overflow: [
      torchZip(stateDict({ a: tensor({ shape: [2 ** 30, 2 ** 30], elements: 16 }) })),
      /elements of a is 1152921/,
    ],

    header_too_large: [safetensorsFile({}, undefined, 100_000_001n), /claims 100000001 bytes/],
    header_malformed: [safetensorsFile(Buffer.from('{"a":')), /not JSON/],
    size_mismatch: [safetensorsFile({ a: row([3], 0, 8) }, Buffer.alloc(8)), /a needs 12 bytes, .* 0 and 8/],
    ranges_overlap: [
      safetensorsFile({ a: row([2], 0, 8), b: row([2], 4, 12) }, Buffer.alloc(12)),
      /b begins 4 bytes too early/,
    ],
    ranges_gap: [safetensorsFile({ a: row([2], 4, 12) }, Buffer.alloc(12)), /4 bytes before a/],
    bytes_left_over: [safetensorsFile({ a: row([2], 0, 8) }, Buffer.alloc(9)), /1 bytes follow/],
  };

describe('readCheckpoint of a file that is wrong', () => {
  for (const [reason, [file, seen]] of Object.entries(wrongFiles))
    it(`${reason}: says what was seen and what to do`, async () => {
      const path = typeof file === 'string' ? file : folder.write(file);
      await assert.rejects(readCheckpoint(path), (error: unknown) => {
        assert(error instanceof CheckpointError, `${error}`);
        assert.equal(error.reason, reason, error.message);
        assert.equal(error.path, path);
        assert(error.message.startsWith(`${path}: `));
        assert.match(error.message.slice(path.length), seen);
        assert(error.message.endsWith(checkpointReasons[error.reason]));
        return true;
      });
    });

  it('state_dict_mismatch is the only reason that another function gives', () => {
    const expected: StateDictEntry[] = [{ name: 'weight', shape: [1], kind: 'parameter', dtype: 'float32' }];
    const checkpoint = { path: '/weights.pth', container: 'zip', byteLength: 0, tensors: [] } as const;
    assert.throws(() => matchStateDict(expected, checkpoint), {
      name: 'CheckpointError',
      reason: 'state_dict_mismatch',
    });
  });
});

function altered(name: string, part: { method?: number; flags?: number }): Buffer {
  return torchZip(weights, { alter: (original) => (original.name === name ? part : {}) });
}

function linkToItself(): string {
  const path = join(folder.path, 'loop.pth');
  symlinkSync(path, path);
  return path;
}

function oldTar(): Buffer {
  const tar = Buffer.alloc(1024);
  tar.write('storages');
  tar.write('ustar', 257);
  return tar;
}

/** The data of storage 0 hold a whole entry, to which the directory points as data/1. */
function overlappingEntries(): Buffer {
  const inner = zipFile([{ name: 'archive/data/1', data: Buffer.alloc(8) }]);
  const object = stateDict({ a: tensor({ shape: [16] }), b: tensor({ shape: [2], key: '1' }) });
  const storages = { 0: Buffer.concat([inner], Math.max(inner.length, 64)), 1: Buffer.alloc(8) };
  const at = torchZip(object, { storages }).indexOf(inner.subarray(0, 40));
  return torchZip(object, {
    storages,
    alter: ({ name }) => (name === 'archive/data/1' ? { claimedOffset: at } : {}),
  });
}

function twoOpinions(): Py {
  return stateDict({ a: tensor({ shape: [16] }), b: tensor({ shape: [16], type: 'LongStorage' }), c: tuple() });
}
