import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import sharp from 'sharp';
import { fixturesDir, run, smallPictures, temporaryDir, writeSmallModel } from './command.js';

test('vgg-serve describe', async (t) => {
  const dir = await temporaryDir(t);
  const env = { TORCH_HOME: join(dir, 'torch'), XDG_CACHE_HOME: dir };

  await t.test('of a network whose weights are not here: what PyTorch prints', async () => {
    const printed = JSON.parse(await readFile(join(fixturesDir, 'torchvision/printed.json'), 'utf8'));
    for (const name of ['vgg16_bn', 'resnet50']) {
      const expected = { code: 0, stdout: `${printed[name]}\n`, stderr: '' };
      assert.deepEqual(await run(['describe', name], env), expected);
    }
  });

  await t.test('--layers: the layers with their shapes and counts, and the totals', async () => {
    const { code, stdout } = await run(['describe', '--layers', 'vgg16'], env);
    const rows = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    assert.deepEqual(rows[0], ['LAYER', 'KIND', 'OUTPUT', 'PARAMETERS', 'MULTIPLY-ADDS']);
    assert.deepEqual(rows[1], ['input', '3 x 224 x 224']);
    assert.deepEqual(rows[2], ['features.0', 'conv', '64 x 224 x 224', '1,792', '86,704,128']);
    assert.deepEqual(rows.at(-2), ['classifier.6', 'linear', '1000', '4,097,000', '4,096,000']);
    assert.deepEqual(rows.at(-1), ['total', '138,357,544', '15,470,264,320']);
    assert.equal(code, 0);
  });

  await t.test('--json: the model as GET /models/:name tells it', async () => {
    const { stdout } = await run(['describe', '--json', await writeSmallModel(dir)], env);
    const { name, state, num_params, layers, printed, multiply_adds } = JSON.parse(stdout);
    assert.deepEqual({ name, state, num_params }, { name: 'small', state: 'unloaded', num_params: 84_474 });
    assert.match(printed, /^VGG\(/);
    const sum = layers.reduce((total: number, layer: { multiply_adds: number }) => total + layer.multiply_adds, 0);
    assert.equal(sum, multiply_adds);
  });

  await t.test('--graph: one file that answers as PyTorch does', async () => {
    const path = join(dir, 'small.onnx');
    const { code, stdout, stderr } = await run(['describe', '--graph', path, await writeSmallModel(dir)], env);
    assert.match(stdout, /^VGG\(/);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: `vgg-serve: written to ${path}, 0.3 MB\n` });
    const session = await InferenceSession.create(path);
    for (const { png, logits } of await smallPictures()) {
      const pixels = new Uint8Array(await sharp(png).raw().toBuffer());
      const { logits: output } = await session.run({ pixels: new Tensor('uint8', pixels, [1, 224, 224, 3]) });
      const largest = Math.max(...logits.map(Math.abs));
      assert.ok(logits.every((logit, at) => Math.abs(logit - Number(output?.data[at])) < 1e-5 * largest));
    }
    await session.release();
  });

  await t.test('--graph where the weights are not here, offline: ends with 1 and names the file', async () => {
    const { code, stderr } = await run(['describe', '--offline', '--graph', join(dir, 'x.onnx'), 'vgg16'], env);
    assert.match(stderr, /^vgg-serve: vgg16-397923af\.pth: /);
    assert.equal(code, 1);
  });

  await t.test('--graph into a folder that there is not: ends with 1 and says so', async () => {
    const path = join(dir, 'missing/x.onnx');
    const { code, stderr } = await run(['describe', '--graph', path, await writeSmallModel(dir)], env);
    assert.match(stderr, /^vgg-serve: ENOENT: .*missing\/x\.onnx/);
    assert.equal(code, 1);
  });
});
