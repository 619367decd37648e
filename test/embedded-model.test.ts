import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeTestPictures } from '../bench/fashion-test-set.js';
import { fixturesDir, run, temporaryDir } from './cli/command.js';

/** Float32 in another order of operations; the files give six decimals. */
const probabilityTolerance = 5e-6;

test('vgg-serve eval on all 10,000 test pictures: at least 94 %, and picture by picture what PyTorch answers', async (t) => {
  const dir = await temporaryDir(t);
  const pictures = join(dir, 'pictures');
  const answers = join(dir, 'answers.tsv');
  await writeTestPictures(pictures);

  const { code, stdout, stderr } = await run(['eval', '--json', '--answers', answers, pictures]);
  assert.equal(code, 0, stderr);
  const counted = JSON.parse(stdout) as { pictures: number; 'acc@1': number; 'acc@5': number };
  t.diagnostic(`acc@1 ${counted['acc@1']} %, acc@5 ${counted['acc@5']} % of ${counted.pictures} pictures`);

  const manifest = JSON.parse(await readFile(join(fixturesDir, '../../models/fashion-vgg/manifest.json'), 'utf8')) as {
    meta: { 'acc@1': number; 'acc@5': number };
  };
  assert.equal(counted.pictures, 10_000);
  assert.ok(counted['acc@1'] >= 94);
  assert.equal(counted['acc@1'], manifest.meta['acc@1']);
  assert.equal(counted['acc@5'], manifest.meta['acc@5']);

  const ours = await readAnswers(answers);
  const theirs = await readAnswers(join(fixturesDir, 'fashion-mnist', 'pytorch-answers.tsv'));
  assert.equal(ours.length, theirs.length);
  let largest = 0;
  for (const [at, expected] of theirs.entries()) {
    const seen = ours[at];
    assert.deepEqual([seen?.path, seen?.index], [expected.path, expected.index]);
    largest = Math.max(largest, Math.abs((seen?.probability ?? Number.NaN) - expected.probability));
  }
  t.diagnostic(`largest difference of a probability to PyTorch's: ${largest.toExponential(1)}`);
  assert.ok(largest <= probabilityTolerance, `differs by ${largest}`);
});

async function readAnswers(file: string): Promise<{ path: string; index: number; probability: number }[]> {
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
  return lines.map((line) => {
    const [path = '', index, probability] = line.split('\t');
    return { path, index: Number(index), probability: Number(probability) };
  });
}
