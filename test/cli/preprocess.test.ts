import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fixturesDir, run, temporaryDir, writeSmallModel, writeTree } from './command.js';

/** Pillow clips 16-bit grey to white; there we differ from it on purpose. */
const sixteenBit = 'chelsea_grey16.png';

test('vgg-serve preprocess', async (t) => {
  const dir = await temporaryDir(t);
  const model = await writeSmallModel(dir);
  const out = (name: string) => join(dir, 'out', name);
  const picture = (name: string) => join(fixturesDir, 'images', name);
  const sha256 = async (path: string) =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex');

  await t.test('--resize 256 --crop 224: the bytes that torchvision makes, of every picture', async () => {
    const reference: { rows: { file: string; resize: number; crop: number; crop_sha256: string }[] } = JSON.parse(
      await readFile(join(fixturesDir, 'preprocessing.json'), 'utf8'),
    );
    const rows = reference.rows.filter(({ file }) => file !== sixteenBit);
    assert.equal(rows.length, 34);
    assert.ok(rows.every(({ resize, crop }) => resize === 256 && crop === 224));
    const files = rows.map(({ file }) => picture(file));
    const args = ['preprocess', '--model', model, '--resize', '256', '--crop', '224', '--out', out('all'), ...files];
    const expected = rows.map(({ crop_sha256 }, at) => `${crop_sha256}  ${files[at]}\n`).join('');
    assert.deepEqual(await run(args), { code: 0, stdout: expected, stderr: '' });

    const names = rows.map(({ file }) => `${file}.256-224.u8`);
    assert.deepEqual((await readdir(out('all'))).sort(), [...names].sort());
    for (const [at, name] of names.entries()) assert.equal(await sha256(join(out('all'), name)), rows[at]?.crop_sha256);
  });

  await t.test("without sizes: the model's own transforms", async () => {
    const file = picture('chelsea_2x3.png');
    const { code, stdout } = await run(['preprocess', '--model', model, '--out', out('own'), file]);
    assert.deepEqual(await readdir(out('own')), ['chelsea_2x3.png.224-224.u8']);
    assert.equal(stdout, `${await sha256(join(out('own'), 'chelsea_2x3.png.224-224.u8'))}  ${file}\n`);
    assert.equal(code, 0);
  });

  await t.test('a refused and a missing file: named with their codes, the others are done', async () => {
    await writeTree(dir, { 'broken.png': 'no picture' });
    const files = [join(dir, 'broken.png'), join(dir, 'missing.png'), picture('chelsea_1x1.png')];
    const { code, stdout, stderr } = await run(['preprocess', '--model', model, '--out', out('some'), ...files]);
    assert.deepEqual(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/^[0-9a-f]{64} /, 'hash ')),
      [`error:not_an_image  ${files[0]}`, `error:unreadable_file  ${files[1]}`, `hash  ${files[2]}`],
    );
    assert.match(
      stderr,
      /^vgg-serve: .*broken\.png: .+ \(not_an_image\)\nvgg-serve: .*missing\.png: no such file or directory\n$/,
    );
    assert.deepEqual(await readdir(out('some')), ['chelsea_1x1.png.224-224.u8']);
    assert.equal(code, 1);
  });

  await t.test('two files of one name: wrong use, and nothing is written', async () => {
    const { code, stdout, stderr } = await run([
      'preprocess',
      '--model',
      model,
      '--out',
      out('none'),
      'a/x.png',
      'b/x.png',
    ]);
    assert.match(stderr, /^vgg-serve: a\/x\.png and b\/x\.png would both be written to x\.png\.224-224\.u8: /);
    assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
    await assert.rejects(readdir(out('none')), { code: 'ENOENT' });
  });
});
