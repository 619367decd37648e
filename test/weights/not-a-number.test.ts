import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { holdsNaN } from '../../src/weights/not-a-number.js';
import { row, safetensorsFile } from './safetensors-builder.js';
import { temporaryFolder } from './temporary-files.js';

const folder = temporaryFolder();

async function checkpointOf(numbers: readonly number[]) {
  const data = new Uint8Array(Float32Array.from(numbers).buffer);
  const path = folder.write(safetensorsFile({ a: row([2, 2], 0, 16) }, data));
  return await readCheckpoint(path);
}

test('holdsNaN: true for a tensor whose last number is NaN', async () => {
  assert.equal(await holdsNaN(await checkpointOf([1, 2, 3, Number.NaN]), 'a'), true);
});

test('holdsNaN: false for numbers and infinities', async () => {
  assert.equal(await holdsNaN(await checkpointOf([1, -2, 0, Number.POSITIVE_INFINITY]), 'a'), false);
});

test('holdsNaN: false for a half-precision tensor of numbers, true for one with a NaN', async () => {
  const file = (halves: readonly number[]) =>
    folder.write(safetensorsFile({ a: row([2], 0, 4, 'F16') }, new Uint8Array(Uint16Array.from(halves).buffer)));
  assert.equal(await holdsNaN(await readCheckpoint(file([0x3c00, 0x7c00])), 'a'), false);
  assert.equal(await holdsNaN(await readCheckpoint(file([0x3c00, 0x7e00])), 'a'), true);
});

test('holdsNaN: false for a tensor that is not there, and for whole numbers', async () => {
  assert.equal(await holdsNaN(await checkpointOf([1, 2, 3, Number.NaN]), 'b'), false);
  const path = folder.write(safetensorsFile({ a: row([1], 0, 8, 'I64') }, new Uint8Array(8).fill(255)));
  assert.equal(await holdsNaN(await readCheckpoint(path), 'a'), false);
});
