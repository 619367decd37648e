import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, temporaryDir, writeTree } from './command.js';

test('vgg-serve models', async (t) => {
  const dir = await temporaryDir(t);
  await writeTree(dir, { 'hub/checkpoints/vgg16-397923af.pth': 'here', 'hub/checkpoints/vgg19-dcbb9e9d.pth': '' });
  const env = { TORCH_HOME: dir };

  await t.test('a table of the embedded model and the catalogue; an empty file counts as none', async () => {
    const { code, stdout, stderr } = await run(['models'], env);
    const lines = stdout.trimEnd().split('\n');
    const rows = new Map(lines.map((line) => [line.split(' ')[0], line.split(/ {2,}/)]));
    assert.deepEqual(rows.get('NAME'), ['NAME', 'PARAMETERS', 'ACC@1', 'ACC@5', 'GFLOPS', 'SIZE', 'HERE']);
    assert.deepEqual(rows.get('fashion-vgg')?.slice(2, 3), ['94.71']);
    assert.equal(rows.get('fashion-vgg')?.at(-1), 'yes');
    assert.deepEqual(rows.get('vgg16'), ['vgg16', '138,357,544', '71.59', '90.38', '15.470', '553.4 MB', 'yes']);
    assert.equal(rows.get('vgg19')?.at(-1), 'no');
    assert.deepEqual(rows.get('vgg16:IMAGENET1K_FEATURES')?.slice(2, 4), ['-', '-']);
    assert.deepEqual(rows.get('resnet50:IMAGENET1K_V1')?.slice(2, 4), ['76.13', '92.86']);
    assert.equal(lines.length, 1 + 1 + 11);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  });

  await t.test('--json: the same in numbers, and where each file is or will be', async () => {
    const { models } = JSON.parse((await run(['models', '--json'], env)).stdout);
    const { path, ...vgg16 } = models.find(({ name }: { name: string }) => name === 'vgg16');
    assert.equal(path, join(dir, 'hub/checkpoints/vgg16-397923af.pth'));
    assert.deepEqual(vgg16, {
      name: 'vgg16',
      weights: 'IMAGENET1K_V1',
      num_params: 138_357_544,
      'acc@1': 71.592,
      'acc@5': 90.382,
      multiply_adds: 15_470_000_000,
      size_bytes: 553_434_218,
      here: true,
      unusable: null,
    });
  });
});
