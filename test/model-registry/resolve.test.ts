import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { embeddedModels, resolveModel } from '../../src/model-registry/resolve.js';
import { UnknownModelError } from '../../src/model-registry/spelling.js';
import { builderOptions } from '../../src/vgg/network.js';
import { imagenetCategories } from '../../src/weights/imagenet-categories.js';
import { writeSafetensors } from '../../src/weights/safetensors-writer.js';
import { writeSmallModel } from '../cli/command.js';

async function temporaryFolder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'vgg-serve-test-'));
  t.after(() => rm(dir, { recursive: true }));
  return dir;
}

test('resolveModel of an embedded model: its manifest, with weights in the package', async () => {
  assert.ok(embeddedModels().includes('fashion-vgg'));
  for (const name of embeddedModels()) {
    const manifest = await resolveModel(name);
    assert.equal(manifest.name, name);
    assert.equal(manifest.source.kind, 'file');
    assert.ok(manifest.source.path.startsWith(fileURLToPath(new URL(`../../../models/${name}/`, import.meta.url))));
  }
});

test('resolveModel of a path: the manifest there, or the manifest.json of the folder there', async (t) => {
  const dir = await temporaryFolder(t);
  const file = await writeSmallModel(dir);
  assert.equal((await resolveModel(file)).name, 'small');
  assert.equal((await resolveModel(relative('', file))).name, 'small');
  const folder = join(dir, 'fashion-vgg');
  await mkdir(folder);
  await rename(file, join(folder, 'manifest.json'));
  assert.equal((await resolveModel(folder)).name, 'small');
});

test('resolveModel of a folder called as a builder: by its path only', async (t) => {
  const folder = join(await temporaryFolder(t), 'vgg16');
  await mkdir(folder);
  await rename(await writeSmallModel(folder), join(folder, 'manifest.json'));
  assert.equal((await resolveModel(folder)).name, 'small');
  assert.equal((await resolveModel('vgg16')).name, 'vgg16');
});

test('resolveModel of a pretrained model', async () => {
  const { source, ...manifest } = await resolveModel('vgg16');
  assert.deepEqual(manifest, {
    name: 'vgg16',
    weights: 'IMAGENET1K_V1',
    builder: 'vgg16',
    network: builderOptions('vgg16'),
    transforms: { resize: 256, crop: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
    categories: imagenetCategories,
    meta: {
      num_params: 138_357_544,
      'acc@1': 71.592,
      'acc@5': 90.382,
      recipe: 'https://github.com/pytorch/vision/tree/main/references/classification#alexnet-and-vgg',
      dataset: 'ImageNet-1K',
    },
  });
  assert.equal(source.kind, 'hub');
  assert.equal(source.entry.url, 'https://download.pytorch.org/models/vgg16-397923af.pth');
});

test('resolveModel names models of one builder so that they can be served side by side', async (t) => {
  const own = join(await temporaryFolder(t), 'my cats (2).pth');
  await writeHead(own, 'classifier.6.weight', [3, 4]);
  const names = {
    vgg16: 'vgg16',
    'VGG16:VGG16_Weights.IMAGENET1K_V1': 'vgg16',
    'vgg16:none': 'vgg16:none',
    [`vgg16=${own}`]: 'my-cats-2',
    resnet50: 'resnet50',
    'resnet50:IMAGENET1K_V2': 'resnet50',
    'resnet50:ResNet50_Weights.IMAGENET1K_V1': 'resnet50:IMAGENET1K_V1',
  };
  for (const [value, name] of Object.entries(names)) assert.equal((await resolveModel(value)).name, name);
});

test('resolveModel of both ResNet-50 entries: each with the resize of its own', async () => {
  const [v1, v2] = [await resolveModel('resnet50:IMAGENET1K_V1'), await resolveModel('resnet50')];
  assert.deepEqual([v1.transforms.resize, v1.weights], [256, 'IMAGENET1K_V1']);
  assert.deepEqual([v2.transforms.resize, v2.weights], [232, 'IMAGENET1K_V2']);
  assert.deepEqual(v2.network, { builder: 'resnet50', classes: 1000 });
});

test('resolveModel without weights', async () => {
  const { weights, source, categories, meta } = await resolveModel('vgg11_bn:none');
  assert.equal(weights, 'none (untrained, seed 0)');
  assert.deepEqual(source, { kind: 'untrained', seed: 0 });
  assert.equal(categories, imagenetCategories);
  assert.deepEqual(meta, {});
});

test('resolveModel of an own file: as many classes as its last layer has', async (t) => {
  const path = join(await temporaryFolder(t), 'cats.safetensors');
  await writeHead(path, 'classifier.6.weight', [3, 4]);
  const manifest = await resolveModel(`vgg16_bn=${relative('', path)}`);
  assert.deepEqual(manifest, {
    name: 'cats',
    weights: 'cats.safetensors',
    source: { kind: 'file', path },
    builder: 'vgg16_bn',
    network: { ...builderOptions('vgg16_bn'), classes: 3 },
    transforms: { resize: 256, crop: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
    categories: ['class 0', 'class 1', 'class 2'],
    meta: {},
  });
});

test("resolveModel of an own file with 1,000 classes: ImageNet's names", async (t) => {
  const path = join(await temporaryFolder(t), 'fine-tuned.pth');
  await writeHead(path, 'fc.weight', [1000, 1]);
  const { categories, network } = await resolveModel(`resnet50=${path}`);
  assert.equal(categories, imagenetCategories);
  assert.deepEqual(network, { builder: 'resnet50', classes: 1000 });
});

test('resolveModel of an own file that does not fit', async (t) => {
  const dir = await temporaryFolder(t);
  const path = join(dir, 'resnet.pth');
  await writeHead(path, 'fc.weight', [10, 1]);
  await assert.rejects(resolveModel(`vgg16=${path}`), {
    name: 'CheckpointError',
    message: /resnet\.pth: There is no classifier\.6\.weight in it, as vgg16 has\. /,
  });
  await assert.rejects(resolveModel(`vgg16=${dir}/absent.pth`), { name: 'CheckpointError', reason: 'file_not_found' });
});

test('resolveModel of weights that cannot classify: refused at once', async () => {
  await assert.rejects(resolveModel('vgg16:IMAGENET1K_FEATURES'), /^UnknownModelError: .* \(its classifier is NaN/);
});

test('resolveModel with a precision behind it: part of the name, and before that of the manifest', async (t) => {
  const dir = await temporaryFolder(t);
  const folder = join(dir, 'a@b');
  await mkdir(folder);
  const own = join(folder, 'own.pth');
  await writeHead(own, 'classifier.6.weight', [3, 4]);
  const file = await writeSmallModel(dir);
  const names: Record<string, readonly [string, string | undefined]> = {
    vgg16: ['vgg16', undefined],
    'vgg16@bf16': ['vgg16@bf16', 'bf16'],
    'VGG16:DEFAULT@bf16': ['vgg16@bf16', 'bf16'],
    'vgg16@fp32': ['vgg16@fp32', 'fp32'],
    'resnet50:IMAGENET1K_V1@bf16-classifier': ['resnet50:IMAGENET1K_V1@bf16-classifier', 'bf16-classifier'],
    'fashion-vgg@bf16': ['fashion-vgg@bf16', 'bf16'],
    [`vgg16=${own}`]: ['own', undefined],
    [`vgg16=${own}@bf16`]: ['own@bf16', 'bf16'],
    [`${file}@bf16`]: ['small@bf16', 'bf16'],
  };
  for (const [value, expected] of Object.entries(names)) {
    const { name, precision } = await resolveModel(value);
    assert.deepEqual([name, precision], expected, value);
  }
  await writeFile(file, (await readFile(file, 'utf8')).replace('{', '{ "precision": "bf16",'));
  assert.deepEqual([(await resolveModel(file)).name, (await resolveModel(file)).precision], ['small', 'bf16']);
  assert.equal((await resolveModel(`${file}@fp32`)).precision, 'fp32');
});

test('resolveModel of a file that is called as if by a precision: with one behind it', async (t) => {
  const dir = await temporaryFolder(t);
  const file = join(dir, 'own@bf16');
  await rename(await writeSmallModel(dir), file);
  await assert.rejects(resolveModel(file), { name: 'UnknownModelError' });
  assert.equal((await resolveModel(`${file}@fp32`)).name, 'small@fp32');
});

test('resolveModel with a precision that there is not: an error that lists the right ones', async (t) => {
  const dir = await temporaryFolder(t);
  const own = join(dir, 'own.pth');
  await writeHead(own, 'classifier.6.weight', [3, 4]);
  const file = await writeSmallModel(dir);
  const models = ['vgg16', 'vgg16:IMAGENET1K_V1', 'vgg16:none', `vgg16=${own}`, 'fashion-vgg', file];
  for (const model of models) {
    for (const wrong of ['bf61', 'BF16', 'int8', '', 'fp32 ']) {
      await assert.rejects(resolveModel(`${model}@${wrong}`), (error: Error) => {
        assert.equal(error.name, 'UnknownModelError');
        assert.ok(error.message.startsWith(`there is no precision "${wrong}"`), error.message);
        assert.ok(
          error.message.endsWith(`: give ${model}@fp32, ${model}@bf16, ${model}@bf16-classifier, or ${model} alone`),
          error.message,
        );
        return true;
      });
    }
  }
  // What is wrong with these is not the precision.
  await assert.rejects(resolveModel('elephant@bf61'), /there is no model "elephant@bf61"/);
  await assert.rejects(resolveModel('elephant@bf16'), /there is no model "elephant"/);
  await assert.rejects(resolveModel(`vgg16=${dir}/no@where.pth`), { reason: 'file_not_found' });
});

test('resolveModel of anything else: an error that lists what is allowed', async () => {
  await assert.rejects(resolveModel('fashion-vg'), (error) => {
    assert.ok(error instanceof UnknownModelError);
    assert.match(
      error.message,
      /^there is no model "fashion-vg" \(did you mean fashion-vgg\?\): give an embedded model \(/,
    );
    assert.match(
      error.message,
      /\(.*fashion-vgg.*\), .*, or the path of a manifest or of a folder that holds a manifest\.json;/,
    );
    return true;
  });
  await assert.rejects(resolveModel('no/such.json'), /^UnknownModelError: there is no model "no\/such\.json": give an/);
});

/** A checkpoint with nothing but a head of zeros. */
async function writeHead(path: string, name: string, shape: readonly [number, number]): Promise<void> {
  await writeSafetensors(path, [{ name, shape, chunks: [new Float32Array(shape[0] * shape[1])] }]);
}
