import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { fixturesDir, run, temporaryDir } from './command.js';

test('vgg-serve verify', async (t) => {
  const dir = await temporaryDir(t);
  const checkpoint = join(fixturesDir, 'checkpoints/small_a_bn.pth');
  const bytes = await readFile(checkpoint);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const copyTo = async (name: string) => {
    await copyFile(checkpoint, join(dir, name));
    return join(dir, name);
  };

  await t.test('a file named by its hash: says so, and what it holds', async () => {
    const file = await copyTo(`small-${sha256.slice(0, 8)}.pth`);
    const { code, stdout, stderr } = await run(['verify', file]);
    const [first, ...facts] = stdout.split('\n');
    assert.equal(first, file);
    assert.equal(facts[0], `  sha256     ${sha256}, as the name says`);
    assert.match(facts[1] ?? '', /^ {2}container {2}zip, 0\.4 MB$/);
    assert.match(facts[2] ?? '', /^ {2}tensors {4}\d+ float32, 8 int64$/);
    assert.match(facts[3] ?? '', /^ {2}network {4}a VGG of cfg .* with batch norm.*, 10 classes, [\d,]+ parameters$/);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  });

  await t.test('a file with the hash of another in its name: ends with 1 and says both', async () => {
    const file = await copyTo('vgg16-397923af.pth');
    const { code, stdout, stderr } = await run(['verify', file]);
    assert.match(stdout, /^ {2}weights {4}vgg16:IMAGENET1K_V1$/m);
    assert.ok(
      stderr.startsWith(`vgg-serve: ${file}: By its name the SHA-256 begins with 397923af, but it is ${sha256}.`),
    );
    assert.equal(code, 1);
  });

  await t.test('--json of a network that cannot classify: the problem, and all else that is known', async () => {
    const file = join(dir, 'nan.pth');
    const { tensors } = await readCheckpoint(checkpoint);
    const damaged = Buffer.from(bytes);
    damaged.writeFloatLE(Number.NaN, tensors.find(({ name }) => name === 'classifier.6.bias')?.byteOffset);
    await writeFile(file, damaged);
    const { code, stdout, stderr } = await run(['verify', '--json', file]);
    const { problems, container, classes, sha256_prefix, notes } = JSON.parse(stdout);
    assert.deepEqual({ container, classes, sha256_prefix }, { container: 'zip', classes: 10, sha256_prefix: null });
    assert.equal(problems.length, 1);
    assert.match(problems[0], /: classifier\.6\.bias holds NaN: /);
    assert.equal(notes.length, 1);
    assert.deepEqual({ code, stderr }, { code: 1, stderr: '' });
  });

  await t.test('what is no checkpoint, is cut, or is not there: ends with 1 and says which', async () => {
    await writeFile(join(dir, 'page.pth'), '<!doctype html><title>Log in</title>');
    await writeFile(join(dir, 'cut.pth'), bytes.subarray(0, 1000));
    const cases = [
      ['page.pth', /HTML or XML page/, /^ {2}sha256 /m],
      ['cut.pth', /cut\.pth: /, /^ {2}sha256 /m],
      ['missing.pth', /There is no such file/, /missing\.pth\n$/],
      ['.', /This is a folder/, /^.*\n$/],
    ] as const;
    for (const [name, problem, seen] of cases) {
      const { code, stdout, stderr } = await run(['verify', join(dir, name)]);
      assert.match(stderr, problem);
      assert.match(stdout, seen);
      assert.equal(code, 1, name);
    }
  });
});
