import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Checkpoint, readCheckpoint } from '../../src/weights/checkpoint.js';
import { row, safetensorsFile } from './safetensors-builder.js';
import { temporaryFolder } from './temporary-files.js';
import { stateDict, tensor, torchLegacy, torchZip } from './torch-builder.js';

const folder = temporaryFolder();
const fixtures = fileURLToPath(new URL('../../../test/fixtures/checkpoints/', import.meta.url));

/** Over each name and its data, in order, as torch.load gives them. */
const asTorchReadsThem = {
  small_a: { tensors: 22, sha256: 'd14009e01b304afe1563ee67e4db9b1079bed96901f32c8ff4ffafb75830a2f3' },
  small_a_bn: { tensors: 62, sha256: 'd1bf777d9389ca44ab8d72f34dbc9a26870c5bfdd42e66e6dd809b8c0128099a' },
  small_pool: { tensors: 27, sha256: '2ba8242a930f010d6e05b0eda14ec05be13cc3463c14550426c77190445ca252' },
};

describe('readCheckpoint', () => {
  for (const [name, expected] of Object.entries(asTorchReadsThem))
    for (const [file, container] of [
      [`${name}.pth`, 'zip'],
      [`${name}.legacy.pth`, 'legacy'],
    ] as const)
      it(`finds the tensors of ${file} where torch finds them`, async () => {
        const checkpoint = await readCheckpoint(`${fixtures}${file}`);
        assert.equal(checkpoint.container, container);
        assert.equal(checkpoint.tensors.length, expected.tensors);
        assert.equal(sha256(checkpoint), expected.sha256);
      });

  it('gives name, dtype, shape, strides and length', async () => {
    const { tensors } = await readCheckpoint(`${fixtures}small_pool.pth`);
    const rows = tensors.slice(5, 8).map(({ byteOffset: _, ...rest }) => rest);
    assert.deepEqual(rows, [
      { name: 'features.1.running_var', dtype: 'float32', shape: [8], strides: [1], byteLength: 32 },
      { name: 'features.1.num_batches_tracked', dtype: 'int64', shape: [], strides: [], byteLength: 8 },
      { name: 'features.4.weight', dtype: 'float32', shape: [12, 8, 3, 3], strides: [72, 9, 3, 1], byteLength: 3456 },
    ]);
  });

  it('knows the container by the bytes, whatever the name', async () => {
    const weights = stateDict({ w: tensor({ shape: [16] }) });
    const files = {
      zip: folder.write(torchZip(weights), 'a.safetensors'),
      legacy: folder.write(torchLegacy(weights), 'b.zip'),
      safetensors: folder.write(safetensorsFile({ w: row([16], 0, 64) }, Buffer.alloc(64)), 'c.pth'),
    };
    for (const [container, path] of Object.entries(files))
      assert.equal((await readCheckpoint(path)).container, container);
  });

  it('gives an absolute path and the size of the file', async () => {
    const path = folder.write(torchZip(stateDict({ w: tensor({ shape: [16] }) })));
    const checkpoint = await readCheckpoint(relative(process.cwd(), path));
    assert.equal(checkpoint.path, resolve(path));
    assert.equal(checkpoint.byteLength, readFileSync(path).length);
  });
});

function sha256({ path, tensors }: Checkpoint): string {
  const bytes = readFileSync(path);
  const hash = createHash('sha256');
  for (const { name, byteOffset, byteLength } of tensors)
    hash.update(name).update(bytes.subarray(byteOffset, byteOffset + byteLength));
  return hash.digest('hex');
}
