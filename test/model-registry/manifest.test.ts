import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ManifestError, readManifest } from '../../src/model-registry/manifest.js';
import { cfgs } from '../../src/vgg/configs.js';
import { builderOptions } from '../../src/vgg/network.js';
import { smallManifest, temporaryFolder, writeManifest } from './small-model.js';

test('readManifest of a network with an own cfg', async (t) => {
  const folder = temporaryFolder(t);
  const weights = { ...smallManifest.weights, sha256: 'AB'.repeat(32) };
  assert.deepEqual(await readManifest(writeManifest(folder, { ...smallManifest, weights })), {
    name: 'tiny',
    weights: 'TINY_V1',
    source: { kind: 'file', path: join(folder, 'tiny.safetensors'), sha256: 'ab'.repeat(32) },
    builder: undefined,
    network: { cfg: [2, 'M'], batchNorm: false, pool: [1, 1], hidden: 3, classes: 4 },
    transforms: { resize: 6, crop: 4, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
    categories: ['red', 'green', 'blue', 'first'],
    meta: { num_params: 93, 'acc@1': 94.5, 'acc@5': 100, recipe: 'training/train.py', dataset: 'Tiny' },
    precision: undefined,
  });
});

test('readManifest with a precision', async (t) => {
  const { precision } = await readManifest(writeManifest(temporaryFolder(t), { ...smallManifest, precision: 'bf16' }));
  assert.equal(precision, 'bf16');
});

test('readManifest of a folder that holds a manifest.json', async (t) => {
  const folder = temporaryFolder(t);
  writeManifest(folder);
  assert.equal((await readManifest(folder)).name, 'tiny');
});

test('readManifest by a relative path gives an absolute path of the weights', async (t) => {
  const folder = temporaryFolder(t);
  const path = relative(process.cwd(), writeManifest(folder));
  assert.deepEqual((await readManifest(path)).source, {
    kind: 'file',
    path: join(folder, 'tiny.safetensors'),
    sha256: undefined,
  });
});

test("readManifest of a torchvision builder with a user's own classes", async (t) => {
  const manifest = {
    ...smallManifest,
    network: { builder: 'vgg16', classes: 4 },
    transforms: { ...smallManifest.transforms, resize: 256, crop: 224 },
    meta: { num_params: 138_357_544 - 996 * 4097 },
  };
  const { builder, network } = await readManifest(writeManifest(temporaryFolder(t), manifest));
  assert.equal(builder, 'vgg16');
  assert.deepEqual(network, { ...builderOptions('vgg16'), classes: 4 });
});

test('readManifest of a ResNet-50 with a head of its own', async (t) => {
  const manifest = {
    ...smallManifest,
    network: { builder: 'resnet50', classes: 4 },
    meta: { num_params: 25_557_032 - 996 * 2049 },
  };
  const { builder, network } = await readManifest(writeManifest(temporaryFolder(t), manifest));
  assert.equal(builder, 'resnet50');
  assert.deepEqual(network, { builder: 'resnet50', classes: 4 });
});

test('readManifest of a cfg by its name', async (t) => {
  const network = { ...smallManifest.network, cfg: 'A' };
  const transforms = { ...smallManifest.transforms, crop: 32 };
  const manifest = { ...smallManifest, network, transforms, meta: undefined };
  const read = await readManifest(writeManifest(temporaryFolder(t), manifest));
  assert.deepEqual(read.network, { cfg: cfgs.A, batchNorm: false, pool: [1, 1], hidden: 3, classes: 4 });
  assert.deepEqual(read.meta, {});
});

test('readManifest of categories in a text file, with any line ends', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'names.txt'), 'crane\r\ncrane\r\nT-shirt/top\r\nÄpfel\r\n');
  const { categories } = await readManifest(writeManifest(folder, { ...smallManifest, categories: 'names.txt' }));
  assert.deepEqual(categories, ['crane', 'crane', 'T-shirt/top', 'Äpfel']);
});

/** The message for a manifest, without the folder before its path. */
async function messageFor(t: TestContext, manifest: unknown, files: Record<string, string> = {}): Promise<string> {
  const folder = temporaryFolder(t);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  try {
    await readManifest(writeManifest(folder, manifest));
  } catch (error) {
    assert.ok(error instanceof ManifestError);
    assert.equal(error.path, join(folder, 'manifest.json'));
    return error.message.replaceAll(`${folder}/`, '');
  }
  return 'no error';
}

const { network, transforms, weights, meta } = smallManifest;
const wholeNumber = 'allowed is a whole number from 1 to 65536.';

const faults: { title: string; change: Record<string, unknown>; message: string | RegExp }[] = [
  {
    title: 'an unknown field',
    change: { clases: 4 },
    message: 'clases is unknown; allowed are name, weights, network, transforms, categories, meta, precision.',
  },
  {
    title: 'an unknown field further down',
    change: { weights: { ...weights, url: 'x' } },
    message: 'weights.url is unknown; allowed are name, file, sha256.',
  },
  { title: 'a missing field', change: { categories: undefined }, message: 'categories is missing.' },
  {
    title: 'a missing field further down',
    change: { transforms: { ...transforms, std: undefined } },
    message: 'transforms.std is missing.',
  },
  { title: 'a list for an object', change: { weights: [] }, message: 'weights is []; allowed is an object.' },
  {
    title: 'a name that is no part of a URL',
    change: { name: '../x' },
    message: "name is '../x'; allowed is up to 64 of A-Z a-z 0-9 . _ - with a letter or digit first.",
  },
  {
    title: 'an empty file name',
    change: { weights: { ...weights, file: ' ' } },
    message: "weights.file is ' '; allowed is a text that is not empty.",
  },
  {
    title: 'a short sha256',
    change: { weights: { ...weights, sha256: 'abc' } },
    message: "weights.sha256 is 'abc'; allowed is 64 hex digits.",
  },
  {
    title: 'a network of neither kind',
    change: { network: { bulider: 'vgg16', classes: 4 } },
    message: 'network needs a builder (with classes) or a cfg (with batch_norm, pool, hidden and classes).',
  },
  {
    title: 'a network of both kinds',
    change: { network: { ...network, builder: 'vgg16' } },
    message: 'network.cfg is unknown; allowed are builder, classes.',
  },
  {
    title: 'a builder that every object has',
    change: { network: { builder: 'constructor', classes: 4 } },
    message:
      "network.builder is 'constructor'; allowed is one of vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn, resnet50.",
  },
  {
    title: 'a cfg name that every object has',
    change: { network: { ...network, cfg: 'toString' } },
    message: /^network\.cfg is 'toString'; allowed/,
  },
  {
    title: 'a bad item of a cfg',
    change: { network: { ...network, cfg: [2, 'M', 2, 'MM'] } },
    message: /^network\.cfg\[3\] is 'MM'; allowed/,
  },
  {
    title: 'a text for a flag',
    change: { network: { ...network, batch_norm: 'false' } },
    message: "network.batch_norm is 'false'; allowed is true or false.",
  },
  {
    title: 'a pool of three',
    change: { network: { ...network, pool: [7, 7, 7] } },
    message: 'network.pool is a list of 3; allowed is a list of 2.',
  },
  {
    title: 'a pool that is no list',
    change: { network: { ...network, pool: 7 } },
    message: 'network.pool is 7; allowed is a list.',
  },
  {
    title: 'a bad extent of a pool',
    change: { network: { ...network, pool: [7, 0] } },
    message: `network.pool[1] is 0; ${wholeNumber}`,
  },
  {
    title: 'a fraction of a feature',
    change: { network: { ...network, hidden: 2.5 } },
    message: `network.hidden is 2.5; ${wholeNumber}`,
  },
  {
    title: 'a text for a number',
    change: { network: { ...network, classes: '4' } },
    message: `network.classes is '4'; ${wholeNumber}`,
  },
  {
    title: 'a network too large to count',
    change: { network: { ...network, cfg: [60_000, 60_000] } },
    message: /^network: The network has \d+ parameters;/,
  },
  {
    title: 'a resize of nothing',
    change: { transforms: { ...transforms, resize: 0 } },
    message: `transforms.resize is 0; ${wholeNumber}`,
  },
  {
    title: 'a crop that the poolings shrink to nothing',
    change: { transforms: { ...transforms, crop: 1 } },
    message: /^transforms\.crop: .* 1 x 1 pixels/,
  },
  {
    title: 'a mean that is no number',
    change: { transforms: { ...transforms, mean: [0.5, null, 0.5] } },
    message: 'transforms.mean[1] is null; allowed is a number.',
  },
  {
    title: 'a std of 0',
    change: { transforms: { ...transforms, std: [0.5, 0.5, 0] } },
    message: 'transforms.std[2] is 0; allowed is a number above 0.',
  },
  {
    title: 'too few categories',
    change: { categories: ['a', 'b'] },
    message: 'categories are 2 names, but the network has 4 classes.',
  },
  {
    title: 'a category without a name',
    change: { categories: ['a', 'b', '', 'd'] },
    message: "categories[2] is ''; allowed is a text that is not empty.",
  },
  {
    title: 'categories of a wrong type',
    change: { categories: 4 },
    message: 'categories is 4; allowed is a list.',
  },
  {
    title: 'a file of categories that is not there',
    change: { categories: 'nowhere.txt' },
    message: 'categories are in nowhere.txt: there is no such file.',
  },
  {
    title: 'a file of categories with an empty line',
    change: { categories: 'gap.txt' },
    message: 'categories are in gap.txt, whose line 2 is empty.',
  },
  {
    title: 'a file of too few categories',
    change: { categories: 'three.txt' },
    message: 'categories are 3 names, but the network has 4 classes.',
  },
  {
    title: 'an unknown field of meta',
    change: { meta: { ...meta, accuracy: 94 } },
    message: 'meta.accuracy is unknown; allowed are num_params, acc@1, acc@5, recipe, dataset.',
  },
  {
    title: 'a number of parameters that is not the counted one',
    change: { meta: { ...meta, num_params: 94 } },
    message: "meta.num_params is 94; allowed is 93, as the network's layers count.",
  },
  {
    title: 'a precision that there is not',
    change: { precision: 'fp16' },
    message: "precision is 'fp16'; allowed is one of fp32, bf16, bf16-classifier.",
  },
  {
    title: 'an accuracy above 100',
    change: { meta: { ...meta, 'acc@1': 100.1 } },
    message: 'meta.acc@1 is 100.1; allowed is per cent, from 0 to 100.',
  },
];

for (const { title, change, message } of faults) {
  test(`readManifest with ${title}`, async (t) => {
    const files = { 'gap.txt': 'a\n\nc\nd\n', 'three.txt': 'a\nb\nc' };
    const [, seen = ''] =
      /^manifest\.json: (.*)$/.exec(await messageFor(t, { ...smallManifest, ...change }, files)) ?? [];
    if (typeof message === 'string') assert.equal(seen, message);
    else assert.match(seen, message);
  });
}

test('readManifest refuses __proto__ as any other unknown field', async (t) => {
  const json = JSON.stringify(smallManifest).replace('{', '{"__proto__":{"meta":{}},');
  assert.equal(
    await messageFor(t, json),
    'manifest.json: __proto__ is unknown; allowed are name, weights, network, transforms, categories, meta, precision.',
  );
});

test('readManifest does not take missing fields from a prototype', async (t) => {
  const json = JSON.stringify({ ...smallManifest, network: { constructor: 1 } });
  assert.match(await messageFor(t, json), /^manifest\.json: network needs a builder/);
});

test('readManifest of what is not an object', async (t) => {
  assert.equal(await messageFor(t, '"tiny"'), "manifest.json: the manifest is 'tiny'; allowed is an object.");
});

test('readManifest of what is not JSON', async (t) => {
  assert.match(await messageFor(t, '{"name": tiny}'), /^manifest\.json: not JSON: .*tiny/);
});

test('readManifest of a path where nothing is', async (t) => {
  const path = join(temporaryFolder(t), 'nowhere.json');
  await assert.rejects(readManifest(path), { name: 'ManifestError', message: `${path}: there is no such file` });
});

test('readManifest of a folder without a manifest.json', async (t) => {
  const folder = temporaryFolder(t);
  await assert.rejects(readManifest(folder), { message: `${folder}/manifest.json: there is no such file` });
});

test('readManifest of a checkpoint taken for a manifest', async (t) => {
  const path = join(temporaryFolder(t), 'vgg16.pth');
  writeFileSync(path, '');
  truncateSync(path, 553_433_881);
  await assert.rejects(readManifest(path), {
    message: `${path}: 553433881 bytes are too many for a text; allowed are 16777216`,
  });
});
