import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { type TensorToWrite, writeSafetensors } from '../../src/weights/safetensors-writer.js';
import { temporaryFolder } from './temporary-files.js';

const folder = temporaryFolder();

describe('writeSafetensors', () => {
  it('writes what readCheckpoint reads, chunk after chunk', async () => {
    const path = join(folder.path, 'pieces.safetensors');
    await writeSafetensors(path, [
      { name: 'b', shape: [2, 3], chunks: pieces() },
      { name: 'a', shape: [], chunks: [Float32Array.of(7)] },
      { name: 'none', shape: [0], chunks: [] },
    ]);
    const { tensors } = await readCheckpoint(path);
    assert.deepEqual(
      tensors.map(({ name, shape }) => [name, shape]),
      [
        ['b', [2, 3]],
        ['a', []],
        ['none', [0]],
      ],
    );
    const bytes = readFileSync(path);
    const start = tensors[0]?.byteOffset ?? 0;
    assert.equal(start % 8, 0);
    const values = new Float32Array(new Uint8Array(bytes.subarray(start)).buffer);
    assert.deepEqual([...values], [1, 2, 3, 4, 5, 6, 7]);
  });

  it('leaves no file when the chunks do not add up to the shape', async () => {
    const path = join(folder.path, 'short.safetensors');
    const tensors: TensorToWrite[] = [{ name: 'a', shape: [3], chunks: [Float32Array.of(1, 2)] }];
    await assert.rejects(writeSafetensors(path, tensors), { name: 'RangeError', message: /a has 3 elements/ });
    assert.deepEqual(filesOf(path), []);
  });

  it('leaves the file of before when a chunk cannot be made', async () => {
    const path = join(folder.path, 'kept.safetensors');
    await writeSafetensors(path, [{ name: 'a', shape: [1], chunks: [Float32Array.of(1)] }]);
    await assert.rejects(writeSafetensors(path, [{ name: 'b', shape: [1], chunks: broken() }]), /no more/);
    assert.deepEqual(filesOf(path), ['kept.safetensors']);
    assert.equal((await readCheckpoint(path)).tensors[0]?.name, 'a');
  });
});

/** One array for all chunks, as a caller with little memory does it. */
async function* pieces(): AsyncGenerator<Float32Array> {
  const piece = new Float32Array(2);
  for (const first of [1, 3, 5]) {
    piece.set([first, first + 1]);
    yield piece;
  }
}

async function* broken(): AsyncGenerator<Float32Array> {
  yield Float32Array.of(1);
  throw new Error('no more');
}

function filesOf(path: string): string[] {
  return readdirSync(folder.path).filter((name) => name.startsWith(basename(path)));
}
