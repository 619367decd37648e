import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { likeliest, run, smallPictures, temporaryDir, writeSmallModel, writeTree } from './command.js';

test('vgg-serve eval', async (t) => {
  const dir = await temporaryDir(t);
  const model = await writeSmallModel(dir);
  // PyTorch finds all three to be an ankle boot (9) and, in its order, the third to be a T-shirt (0) in the fifth place.
  const [first, second, third] = await smallPictures();
  assert.ok(first && second && third);
  const good = join(dir, 'good');
  await writeTree(good, { '9/b.png': first.png, 'Ankle boot/c.png': second.png, 'T-shirt_top/a.png': third.png });
  await t.test('prints acc@1, acc@5 and the counts', async () => {
    assert.deepEqual(await run(['eval', '--model', model, good]), {
      code: 0,
      stdout: 'small SMALL_A\nacc@1 66.67% (2 of 3)\nacc@5 100.00% (3 of 3)\n',
      stderr: '',
    });
  });

  await t.test('--answers: a line for each picture in the order of their paths, as PyTorch answers it', async () => {
    const answers = join(dir, 'answers.tsv');
    const { code } = await run(['eval', '--model', model, '--answers', answers, good]);
    assert.equal(code, 0);
    const lines = (await readFile(answers, 'utf8')).trimEnd().split('\n');
    const expected = [
      ['9/b.png', first.logits],
      ['Ankle boot/c.png', second.logits],
      ['T-shirt_top/a.png', third.logits],
    ] as const;
    assert.equal(lines.length, expected.length);
    for (const [at, [path, logits]] of expected.entries()) {
      const [seenPath, index, probability] = lines[at]?.split('\t') ?? [];
      assert.deepEqual([seenPath, Number(index)], [path, likeliest(logits).index]);
      assert.ok(Math.abs(Number(probability) - likeliest(logits).probability) < 1e-5);
    }
  });

  await t.test('--json with a refused picture: it is not counted, and the exit code is 1', async () => {
    const mixed = join(dir, 'mixed');
    await writeTree(mixed, { '9/a.png': first.png, '9/b.png': 'no picture' });
    const answers = join(dir, 'mixed.tsv');
    const { code, stdout, stderr } = await run(['eval', '--json', '--model', model, '--answers', answers, mixed]);
    assert.deepEqual(JSON.parse(stdout), {
      model: 'small',
      weights: 'SMALL_A',
      precision: 'fp32',
      pictures: 1,
      refused: 1,
      top1: 1,
      top5: 1,
      'acc@1': 100,
      'acc@5': 100,
    });
    assert.match(stderr, /^vgg-serve: .*mixed\/9\/b\.png: .+ \(not_an_image\)\n$/);
    assert.match(await readFile(answers, 'utf8'), /^9\/a\.png\t9\t0\.\d{6}\n9\/b\.png\terror:not_an_image\n$/);
    assert.equal(code, 1);
  });

  await t.test('a folder of no class: ends with 1 and names it', async () => {
    await writeTree(dir, { 'odd/Boots/a.png': '' });
    const { code, stdout, stderr } = await run(['eval', '--model', model, join(dir, 'odd')]);
    assert.match(stderr, /^vgg-serve: folders of .*odd whose class is not clear .*\n {2}Boots: no such class\n$/);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
  });
});
