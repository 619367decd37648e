import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { untrainedWeights } from '../../src/model-registry/untrained.js';
import { buildResNet } from '../../src/resnet/network.js';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { imagenetCategories } from '../../src/weights/imagenet-categories.js';
import { serve, startHubServer } from '../weights/hub-server.js';
import {
  categories,
  likeliest,
  run,
  smallPictures,
  start,
  temporaryDir,
  writeSmallModel,
  writeTree,
} from './command.js';
import { ownHub } from './hub.js';

test('vgg-serve classify', async (t) => {
  const dir = await temporaryDir(t);
  const model = await writeSmallModel(dir);
  const pictures = await smallPictures();
  await writeTree(dir, {
    'a.png': pictures[0]?.png ?? '',
    'b.png': pictures[1]?.png ?? '',
    'broken.png': 'no picture',
  });
  const [a, b, broken, missing] = ['a.png', 'b.png', 'broken.png', 'missing.png'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
    string,
  ];
  const lineOf = (picture: number) => {
    const { index, probability } = likeliest(pictures[picture]?.logits ?? []);
    return `${categories[index]}: ${(100 * probability).toFixed(1)}%\n`;
  };

  await t.test('one file: the label that PyTorch gives, with its probability', async () => {
    const answer = await run(['classify', '--model', model, '--top-k', '1', a]);
    assert.deepEqual(answer, { code: 0, stdout: lineOf(0), stderr: '' });
  });

  await t.test('several files, of which two cannot be done: the others are, under their names', async () => {
    const { code, stdout, stderr } = await run(['classify', `--model=${model}`, '--top-k=1', missing, a, broken, b]);
    assert.equal(stdout, `${a}\n  ${lineOf(0)}${b}\n  ${lineOf(1)}`);
    const [first, second] = stderr.split('\n');
    assert.equal(first, `vgg-serve: ${missing}: no such file or directory`);
    assert.match(second ?? '', /^vgg-serve: .*broken\.png: .+ \(not_an_image\)$/);
    assert.equal(code, 1);
  });

  await t.test('a URL, and a list of files and URLs on stdin', async () => {
    const { origin } = await startHubServer((request, response) => {
      const served = request.url === '/b.png';
      response.writeHead(served ? 200 : 404).end(served ? pictures[1]?.png : '');
    });
    const args = ['classify', '--model', model, '--top-k', '1'];
    const url = `${origin}/b.png`;
    assert.deepEqual(await run([...args, url], {}), { code: 0, stdout: lineOf(1), stderr: '' });

    const list = `${a}\r\n\n${url}\n${origin}/lost.png`;
    const { code, stdout, stderr } = await run([...args, '-'], {}, list);
    assert.equal(stdout, `${a}\n  ${lineOf(0)}${url}\n  ${lineOf(1)}`);
    assert.equal(stderr, `vgg-serve: ${origin}/lost.png: the server answers 404\n`);
    assert.equal(code, 1);
  });

  await t.test('--json: one object in the shape of the HTTP answer', async () => {
    const { code, stdout } = await run(['classify', '--json', '--model', model, '--top-k', '20', a, missing]);
    const { results, ...rest } = JSON.parse(stdout);
    assert.deepEqual(rest, { model: 'small', weights: 'SMALL_A', precision: 'fp32' });
    assert.deepEqual(results[1], {
      file: missing,
      error: { code: 'unreadable_file', detail: 'no such file or directory' },
    });
    assert.equal(results[0].file, a);
    assert.equal(results[0].predictions.length, 10);
    const { index, probability } = likeliest(pictures[0]?.logits ?? []);
    const [first] = results[0].predictions;
    assert.deepEqual([first.label, first.index], [categories[index], index]);
    assert.ok(Math.abs(first.probability - probability) < 1e-5);
    assert.equal(code, 1);
  });

  await t.test('a file beyond --max-picture-bytes: refused with its code', async () => {
    const { code, stderr } = await run(['classify', '--model', model, '--max-picture-bytes', '1kB', a]);
    assert.match(stderr, /\(image_too_many_bytes\)\n$/);
    assert.equal(code, 1);
  });

  await t.test('a reader that goes away: ends quietly with 0', async () => {
    const child = start(['classify', '--model', model, a, b]);
    let stderr = '';
    child.stderr?.on('data', (chunk) => {
      stderr += chunk;
    });
    child.stdout?.destroy();
    const [code] = await once(child, 'close');
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  });

  await t.test('a manifest whose weights are not there: ends with 1 and names the file', async () => {
    await writeTree(dir, { 'lost/manifest.json': (await readFile(model, 'utf8')).replace('small_a.pth', 'lost.pth') });
    const { code, stdout, stderr } = await run(['classify', '--model', join(dir, 'lost'), a]);
    assert.match(stderr, /^vgg-serve: .*lost\.pth/);
    assert.doesNotMatch(stderr, /\n\s+at /);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
  });
});

const thin = { stem: 8, stages: [{ blocks: 1, width: 8, stride: 1 }] } as const;
/** Run in the command's process before the command: what is called resnet50 is small. */
const thinNetwork = `import { resnets } from ${JSON.stringify(new URL('../../src/resnet/configs.js', import.meta.url).href)};
Object.assign(resnets.resnet50, ${JSON.stringify(thin)});`;

/** Weights of the small network that take every picture for a tabby. */
async function thinCheckpoint(dir: string): Promise<Buffer> {
  const network = buildResNet({ ...thin, classes: 1000 });
  const path = await untrainedWeights(network, { linear: 'torch', seed: 1, cacheDir: dir });
  const bytes = await readFile(path);
  const bias = (await readCheckpoint(path)).tensors.find(({ name }) => name === 'fc.bias');
  bytes.writeFloatLE(10, (bias?.byteOffset ?? 0) + 4 * imagenetCategories.indexOf('tabby'));
  return bytes;
}

test('vgg-serve classify with a network of the catalogue: fetches the weights with the progress on stderr, once', async (t) => {
  const dir = await temporaryDir(t);
  const bytes = await thinCheckpoint(dir);
  const name = `resnet50-${createHash('sha256').update(bytes).digest('hex').slice(0, 8)}.pth`;
  const env = { ...(await ownHub(dir, { builder: 'resnet50', file: name }, thinNetwork)), XDG_CACHE_HOME: dir };
  const { origin, requests } = await startHubServer(serve({ bytes }));
  const [picture] = await smallPictures();
  await writeTree(dir, { 'cat.png': picture?.png ?? '' });
  const args = ['classify', join(dir, 'cat.png'), '--model', 'resnet50', '--top-k', '1', '--weights-url', origin];

  const first = await run(args, env);
  assert.match(first.stdout, /^tabby: \d+\.\d%\n$/);
  assert.match(first.stderr, new RegExp(`^(vgg-serve: ${name}: .*\\n)*vgg-serve: ${name}: 100 % .*\\n$`));
  assert.equal(first.code, 0);
  assert.deepEqual(await run(args, env), { code: 0, stdout: first.stdout, stderr: '' });
  assert.equal(requests.length, 1);
});

test('vgg-serve classify with an untrained network: says so', async (t) => {
  const dir = await temporaryDir(t);
  const env = { ...(await ownHub(dir, { builder: 'resnet50', file: 'none' }, thinNetwork)), XDG_CACHE_HOME: dir };
  const [picture] = await smallPictures();
  await writeTree(dir, { 'cat.png': picture?.png ?? '' });
  const { code, stderr } = await run(['classify', '--model', 'resnet50:none', join(dir, 'cat.png')], env);
  assert.deepEqual(
    { code, stderr },
    { code: 0, stderr: 'vgg-serve: resnet50:none is untrained: what it answers means nothing\n' },
  );
});
