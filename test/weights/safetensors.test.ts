import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { row, safetensorsFile } from './safetensors-builder.js';
import { temporaryFolder } from './temporary-files.js';

const folder = temporaryFolder();
const data = Buffer.alloc(24);

const twice = (first: string, second: string) => {
  const fields = JSON.stringify(row([6], 0, 24));
  return `{${first}:${fields},${second}:${fields}}`;
};

/** What safetensors' tensor.rs refuses, and the reason here. */
const wrongFiles: Readonly<Record<string, [file: Buffer, reason: string]>> = {
  'a header longer than the file': [safetensorsFile({}, undefined, 4_000_000n), 'truncated'],
  'a header of more than 4 MiB': [safetensorsFile({}, undefined, 4_194_305n), 'header_too_large'],
  'a name twice': [safetensorsFile(Buffer.from(twice('"a"', '"a"')), data), 'header_malformed'],
  'a name twice, once by an escape': [
    safetensorsFile(Buffer.from(twice('"a"', '"\\u0061"')), data),
    'header_malformed',
  ],
  'a header that is not UTF-8': [safetensorsFile(Buffer.from('{"\xff":1}', 'latin1')), 'header_malformed'],
  'a header that is not JSON': [safetensorsFile(Buffer.from('{"a":1')), 'header_malformed'],
  'a tensor that is no object': [safetensorsFile({ a: null }), 'header_malformed'],
  'a tensor without dtype': [safetensorsFile({ a: { shape: [1], data_offsets: [0, 4] } }, data), 'header_malformed'],
  'a tensor without shape': [safetensorsFile({ a: { dtype: 'F32', data_offsets: [0, 4] } }, data), 'header_malformed'],
  'a tensor with three offsets': [
    safetensorsFile({ a: { dtype: 'F32', shape: [1], data_offsets: [0, 4, 8] } }, data),
    'header_malformed',
  ],
  'a size that is no whole number': [safetensorsFile({ a: row([1.5], 0, 6) }, data), 'header_malformed'],
  'metadata that are no strings': [safetensorsFile({ __metadata__: { epoch: 3 } }), 'header_malformed'],
  'metadata that are a list': [safetensorsFile({ __metadata__: ['pt'] }), 'header_malformed'],
  'an unknown dtype': [safetensorsFile({ a: row([24], 0, 24, 'F8_E4M3') }, data), 'unsupported_dtype'],
  'a dtype that every object has': [safetensorsFile({ a: row([24], 0, 24, 'constructor') }, data), 'unsupported_dtype'],
  'a negative size': [safetensorsFile({ a: row([-6, -1], 0, 24) }, data), 'negative_size'],
  'a negative offset': [safetensorsFile({ a: row([2], -8, 0) }, data), 'negative_size'],
  'an end before its begin': [safetensorsFile({ a: row([2], 16, 8) }, data), 'size_mismatch'],
  'fewer bytes than shape and dtype need': [safetensorsFile({ a: row([6], 0, 20) }, data), 'size_mismatch'],
  'a shape that overflows': [safetensorsFile({ a: row([2 ** 40, 2 ** 40, 0], 0, 0) }, data), 'overflow'],
  'bytes that overflow': [safetensorsFile({ a: row([2 ** 52], 0, 24) }, data), 'overflow'],
  'an offset that overflows': [safetensorsFile({ a: row([2], 2 ** 60, 2 ** 60 + 8) }, data), 'overflow'],
  'overlapping tensors': [safetensorsFile({ a: row([4], 0, 16), b: row([3], 12, 24) }, data), 'ranges_overlap'],
  'one range for two tensors': [safetensorsFile({ a: row([6], 0, 24), b: row([6], 0, 24) }, data), 'ranges_overlap'],
  'a hole between tensors': [safetensorsFile({ a: row([2], 0, 8), b: row([3], 12, 24) }, data), 'ranges_gap'],
  'a hole before the first tensor': [safetensorsFile({ a: row([5], 4, 24) }, data), 'ranges_gap'],
  'a tensor beyond the end of the file': [safetensorsFile({ a: row([7], 0, 28) }, data), 'truncated'],
  'bytes after the last tensor': [safetensorsFile({ a: row([5], 0, 20) }, data), 'bytes_left_over'],
  'bytes and no tensor': [safetensorsFile({}, data), 'bytes_left_over'],
};

describe('readCheckpoint of a safetensors file', () => {
  it('gives the header in its order, with offsets from the start of the file', async () => {
    const header = { b: row([2], 16, 24), 'a.weight': row([2, 2], 0, 16) };
    const bytes = safetensorsFile(header, data);
    const start = bytes.length - data.length;
    assert.deepEqual((await readCheckpoint(folder.write(bytes))).tensors, [
      { name: 'b', dtype: 'float32', shape: [2], strides: [1], byteOffset: start + 16, byteLength: 8 },
      { name: 'a.weight', dtype: 'float32', shape: [2, 2], strides: [2, 1], byteOffset: start, byteLength: 16 },
    ]);
  });

  it('knows every dtype', async () => {
    const sizes = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 };
    for (const [dtype, size] of Object.entries(sizes)) {
      const path = folder.write(safetensorsFile({ a: row([24 / size], 0, 24, dtype) }, data));
      assert.equal((await readCheckpoint(path)).tensors[0]?.byteLength, 24);
    }
  });

  it('reads metadata, padding, scalars and empty tensors', async () => {
    const header = {
      __metadata__: { format: 'pt' },
      scalar: row([], 0, 4),
      empty: row([0, 3], 4, 4),
      x: row([5], 4, 24),
    };
    const padded = Buffer.from(`${JSON.stringify(header)}      `);
    const { tensors } = await readCheckpoint(folder.write(safetensorsFile(padded, data)));
    assert.deepEqual(
      tensors.map(({ name, byteLength }) => `${name} ${byteLength}`),
      ['scalar 4', 'empty 0', 'x 20'],
    );
  });

  it('reads names with colons, quotes, braces and backslashes', async () => {
    const names = ['a:b', '"', '{"a":1}', '\\', '\\":'];
    const header = Object.fromEntries(names.map((name, at) => [name, row([1], at * 4, at * 4 + 4)]));
    const { tensors } = await readCheckpoint(folder.write(safetensorsFile(header, data.subarray(0, 20))));
    assert.deepEqual(
      tensors.map(({ name }) => name),
      names,
    );
  });

  it('takes the module. of DataParallel off', async () => {
    const path = folder.write(safetensorsFile({ 'module.a': row([6], 0, 24) }, data));
    assert.equal((await readCheckpoint(path)).tensors[0]?.name, 'a');
  });

  for (const [what, [file, reason]] of Object.entries(wrongFiles))
    it(`refuses ${what}`, async () => {
      await assert.rejects(readCheckpoint(folder.write(file)), { name: 'CheckpointError', reason });
    });
});
