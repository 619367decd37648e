import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
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

  await t.test('--json: one object in the shape of the HTTP answer', async () => {
    const { code, stdout } = await run(['classify', '--json', '--model', model, '--top-k', '20', a, missing]);
    const { results, ...rest } = JSON.parse(stdout);
    assert.deepEqual(rest, { model: 'small', weights: 'SMALL_A' });
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
