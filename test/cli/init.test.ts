import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { initModel } from '../../src/cli/init.js';
import { Terminal } from '../../src/cli/terminal.js';
import { parseConfig } from '../../src/config.js';
import { type Manifest, readManifest } from '../../src/model-registry/manifest.js';
import { stateDict } from '../../src/network/state-dict.js';
import { elementCount } from '../../src/tensor.js';
import { builderOptions, buildNetwork, type NetworkOptions } from '../../src/vgg/network.js';
import { imagenetCategories } from '../../src/weights/imagenet-categories.js';
import { writeSafetensors } from '../../src/weights/safetensors-writer.js';
import { fixturesDir, likeliest, run, temporaryDir } from './command.js';

const checkpointsDir = join(fixturesDir, 'checkpoints');

interface SmallNetwork {
  readonly name: string;
  readonly cfg: readonly (number | string)[];
  readonly batch_norm: boolean;
  readonly hidden: number;
  readonly pool: readonly [number, number];
  readonly classes: number;
  readonly size: number;
  readonly logits_float64_reference: readonly (readonly number[])[];
}

const smallNetworks: SmallNetwork[] = JSON.parse(await readFile(join(checkpointsDir, 'small_networks.json'), 'utf8'));

/** A network with few weights, a head of three classes among them. */
const own: NetworkOptions = { cfg: [4, 'M', 8, 'M'], batchNorm: false, pool: [2, 2], hidden: 6, classes: 3 };

/** Zeros, but for the tensors that `values` fills with one number. */
async function writeWeights(
  path: string,
  options: NetworkOptions,
  values: Readonly<Record<string, number>> = {},
): Promise<string> {
  const tensors = stateDict(buildNetwork(options)).map(({ name, shape }) => ({
    ...{ name, shape },
    chunks: [new Float32Array(elementCount(shape)).fill(values[name] ?? 0)],
  }));
  await writeSafetensors(path, tensors);
  return path;
}

/** Runs the verb in this process; answers what it prints beside its result. */
async function init(args: readonly string[], terminal?: Terminal) {
  const lines: string[] = [];
  const result = await initModel(parseConfig(args, {}, 'init'), (line) => lines.push(line), terminal);
  return { ...result, lines, written: await readManifest(result.manifest) };
}

const seen = ({ name, weights, network, transforms, categories }: Manifest) => ({
  ...{ name, weights, network, transforms, categories },
});

test('vgg-serve init of networks that PyTorch saved: what is written classifies as PyTorch does', async (t) => {
  const dir = await temporaryDir(t);
  assert.equal(smallNetworks.length, 3);
  await Promise.all(
    smallNetworks.map(async ({ name, cfg, batch_norm, hidden, pool, classes, size, ...row }) => {
      const categories = Array.from({ length: classes }, (_, index) => `name ${index}`);
      const folder = join(dir, name);
      await mkdir(folder);
      await copyFile(join(checkpointsDir, `${name}.pth`), join(folder, 'own.pth'));
      await writeFile(join(folder, 'names.txt'), categories.join('\n'));
      const bytes = await readFile(join(checkpointsDir, `${name}.pixels.u8`));
      const raw = { width: size, height: size, channels: 3 } as const;
      const picture = join(folder, 'picture.png');
      await sharp(bytes.subarray(0, size * size * 3), { raw })
        .png()
        .toFile(picture);

      const given = ['--categories', join(folder, 'names.txt'), '--transforms', `${size},${size}`];
      const answer = await run(['init', join(folder, 'own.pth'), '--json', ...given]);
      assert.equal(answer.stderr, '');
      const { manifest, model, network, command } = JSON.parse(answer.stdout);
      assert.deepEqual(network, { cfg, batch_norm, pool, hidden, classes });
      assert.deepEqual([manifest, model], [join(folder, 'manifest.json'), 'own']);
      assert.equal(command, `vgg-serve serve --model ${manifest}`);

      const { index, probability } = likeliest(row.logits_float64_reference[0] ?? []);
      const { stdout } = await run(['classify', '--model', folder, '--top-k', '1', picture]);
      assert.equal(stdout, `${categories[index]}: ${(100 * probability).toFixed(1)}%\n`);
    }),
  );
});

test('vgg-serve init away from a terminal: prints what it recognised, what it assumed and the command', async (t) => {
  const dir = await temporaryDir(t);
  const file = await writeWeights(join(dir, 'my own.safetensors'), own);
  const out = join(dir, 'x.json');
  const { code, stdout, stderr } = await run(['init', file, '--out', out]);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  const notes = [
    'A checkpoint does not show layers without weights. Where one number is left out in features, max pooling was assumed; ' +
      'where two are, local response normalisation and max pooling; and max pooling after the last convolution. ' +
      'Give the cfg if that is wrong.',
    'A checkpoint shows the area of the pool only: 4 was taken for 2 x 2. Give the pool if that is wrong.',
    'The categories are "class 0", "class 1", ...; --categories FILE says otherwise.',
    'The transforms are those of ImageNet (resize 256, crop 224): a checkpoint does not show what the network was ' +
      'trained with; --transforms says otherwise.',
  ];
  assert.equal(
    stdout,
    `${file}: a VGG of cfg 4,M,8,M without batch norm, pool 2 x 2, hidden 6, 3 classes, 669 parameters\n` +
      `${notes.map((note) => `Note: ${note}\n`).join('')}Written to ${out}. To serve it:\n\n` +
      `  vgg-serve serve --model ${out}\n\n`,
  );
  assert.equal(
    await readFile(out, 'utf8'),
    `{
  "name": "my-own",
  "weights": { "name": "my own.safetensors", "file": "my own.safetensors" },
  "network": { "cfg": [4, "M", 8, "M"], "batch_norm": false, "pool": [2, 2], "hidden": 6, "classes": 3 },
  "transforms": { "resize": 256, "crop": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225] },
  "categories": [
    "class 0",
    "class 1",
    "class 2"
  ]
}
`,
  );
});

test('initModel with all that can be given', async (t) => {
  const dir = await temporaryDir(t);
  const cfg = ['M', 8, 'LRN', 'conv1-4'] as const;
  const file = await writeWeights(join(dir, 'own.safetensors'), { ...own, cfg, pool: [1, 3], batchNorm: true });
  await writeFile(join(dir, 'names.json'), '{"dog": 1, "cat": 0, "neither": 2}');
  await mkdir(join(dir, 'served'));
  const { written, notes, manifest } = await init([
    ...[file, '--name', 'pets', '--categories', join(dir, 'names.json'), '--transforms', '64,48,0,0,0,1,1,1'],
    ...['--cfg', 'M,8,LRN,conv1-4', '--pool', '1x3', '--out', join(dir, 'served')],
  ]);
  assert.equal(manifest, join(dir, 'served', 'manifest.json'));
  assert.deepEqual(seen(written), {
    name: 'pets',
    weights: 'own.safetensors',
    network: { cfg, batchNorm: true, pool: [1, 3], hidden: 6, classes: 3 },
    transforms: { resize: 64, crop: 48, mean: [0, 0, 0], std: [1, 1, 1] },
    categories: ['cat', 'dog', 'neither'],
  });
  assert.deepEqual(written.source, { kind: 'file', path: file, sha256: undefined });
  assert.deepEqual(notes, []);
});

test('initModel of the embedded model: finds the network that its manifest has', async (t) => {
  const embedded = fileURLToPath(new URL('../../../models/fashion-vgg/', import.meta.url));
  const dir = await temporaryDir(t);
  const { written } = await init([join(embedded, 'fashion-vgg.pth'), '--out', join(dir, 'manifest.json')]);
  assert.deepEqual(written.network, (await readManifest(embedded)).network);
});

test('initModel of a vgg11 with 1,000 classes: names the builder, and the categories are those of ImageNet', async (t) => {
  const dir = await temporaryDir(t);
  const options = builderOptions('vgg11');
  // The index alone: the data would be half a gigabyte. A file may have holes, and theirs are zeros.
  let end = 0;
  const rows = stateDict(buildNetwork(options)).map(({ name, shape }) => {
    const begin = end;
    end += 4 * elementCount(shape);
    return [name, { dtype: 'F32', shape, data_offsets: [begin, end] }] as const;
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(rows)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = join(dir, 'vgg11.safetensors');
  await writeFile(file, Buffer.concat([length, json]));
  await truncate(file, 8 + json.length + end);

  const { written, network, notes, lines } = await init([file]);
  assert.deepEqual(network, { builder: 'vgg11', classes: 1000 });
  assert.deepEqual(written.categories, imagenetCategories);
  assert.equal(lines[0], `${file}: vgg11, 1,000 classes, 132,863,336 parameters`);
  assert.equal(notes[0], "The categories are ImageNet's names; --categories FILE says otherwise.");
});

test('initModel at a terminal: asks for what is not given, and again after a wrong answer', async (t) => {
  const dir = await temporaryDir(t);
  const file = await writeWeights(join(dir, 'own.safetensors'), own);
  const [two, three] = [join(dir, 'two.txt'), join(dir, 'three.txt')];
  await writeFile(two, 'cat\ndog\n');
  await writeFile(three, 'cat\ndog\nneither\n');
  const answers = [two, three, '64', '64,64', ''];
  const [input, output] = [new PassThrough(), new PassThrough({ encoding: 'utf8' })];
  let shown = '';
  output.on('data', (text: string) => {
    shown += text;
    if (text.endsWith(']: ')) input.write(`${answers.shift()}\n`);
  });
  const terminal = new Terminal(input, output);
  const { written } = await init([file], terminal);
  terminal.close();
  const question = 'File with the names of the 3 classes, one a line, or class_to_idx as JSON';
  assert.equal(
    shown,
    `${question} ["class 0", "class 1", ...]:   ${two}: it has 2 names, but the network has 3 classes.\n` +
      `${question} ["class 0", "class 1", ...]: ` +
      'Transforms: imagenet, or RESIZE,CROP in pixels [imagenet]:   "64" is not allowed: give "imagenet", or ' +
      'resize,crop in pixels, or resize,crop and the mean and the std of three channels: 2 or 8 numbers with commas between\n' +
      'Transforms: imagenet, or RESIZE,CROP in pixels [imagenet]: Name of the model [own]: ',
  );
  assert.deepEqual([written.name, written.categories, written.transforms.crop], ['own', ['cat', 'dog', 'neither'], 64]);
});

test('initModel does not write over a manifest unless it is told to', async (t) => {
  const dir = await temporaryDir(t);
  const file = await writeWeights(join(dir, 'own.safetensors'), own);
  const manifest = join(dir, 'manifest.json');
  await writeFile(manifest, 'mine');
  await assert.rejects(init([file]), {
    name: 'InitError',
    message: `${manifest} is there already: give another --out, or --force to write over it`,
  });
  assert.equal(await readFile(manifest, 'utf8'), 'mine');
  assert.equal((await init([file, '--force'])).written.name, 'own');
});

test('initModel with what does not fit: says so and writes nothing', async (t) => {
  const dir = await temporaryDir(t);
  const file = await writeWeights(join(dir, 'own.safetensors'), own);
  const features = await writeWeights(join(dir, 'features.safetensors'), own, { 'classifier.6.weight': Number.NaN });
  const four = join(dir, 'four.txt');
  await writeFile(four, 'a\nb\nc\nd\n');
  const page = join(dir, 'page.pth');
  await writeFile(page, '<!doctype html>');
  const manifest = join(dir, 'manifest.json');

  const cases: [string, string[], string | RegExp][] = [
    ['too many categories', [file, '--categories', four], `${four}: it has 4 names, but the network has 3 classes.`],
    ['a bad name', [file, '--name', 'my model'], /manifest\.json: name is 'my model'; allowed is up to 64 of/],
    ['a crop that the poolings shrink to nothing', [file, '--transforms', '3,3'], /manifest\.json: transforms\.crop: /],
    ['a classifier of NaN', [features], /features\.safetensors: classifier\.6\.weight holds NaN, so .*FEATURES/],
    ['a file that is no checkpoint', [page], /page\.pth: This is an HTML or XML page\./],
    ['a cfg of other channels', [file, '--cfg', '4,M,4,M'], /classifier\.0\.weight takes 32 features|size mismatch/],
    ['a cfg that is none', [file, '--cfg', 'F'], /^--cfg: cfg\[0\] is 'F'; allowed is .* The names are A, A-LRN, B/],
    ['a pool that does not fit', [file, '--pool', '2x3'], /own\.safetensors: classifier\.0\.weight takes 32 features:/],
  ];
  for (const [what, args, message] of cases) {
    await t.test(what, async () => {
      await assert.rejects(init(args), { message });
      await assert.rejects(readFile(manifest), { code: 'ENOENT' });
    });
  }
});

test('vgg-serve init with what does not fit: ends with 1, and with 2 for wrong use', async (t) => {
  const dir = await temporaryDir(t);
  const file = await writeWeights(join(dir, 'own.safetensors'), { ...own, pool: [1, 2] });
  const [unfit, wrong] = await Promise.all([run(['init', file]), run(['init', file, '--transforms', 'huge'])]);
  assert.deepEqual(unfit, {
    code: 1,
    stdout: '',
    stderr: `vgg-serve: ${file}: classifier.0.weight takes 16 features: 2 of each of the 8 last channels, which is no square: give the pool.\n`,
  });
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /^vgg-serve: --transforms: "huge" is not allowed: give "imagenet", or resize,crop/);
});
