import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { embeddedModels, resolveModel, UnknownModelError } from '../../src/model-registry/resolve.js';
import { writeSmallModel } from '../cli/command.js';

test('resolveModel of an embedded model: its manifest, with weights in the package', async () => {
  assert.ok(embeddedModels().includes('fashion-vgg'));
  for (const name of embeddedModels()) {
    const manifest = await resolveModel(name);
    assert.equal(manifest.name, name);
    assert.ok(manifest.path.startsWith(fileURLToPath(new URL(`../../../models/${name}/`, import.meta.url))));
  }
});

test('resolveModel of a path: the manifest there, or the manifest.json of the folder there', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'vgg-serve-test-'));
  t.after(() => rm(dir, { recursive: true }));
  const file = await writeSmallModel(dir);
  assert.equal((await resolveModel(file)).name, 'small');
  assert.equal((await resolveModel(relative('', file))).name, 'small');
  const folder = join(dir, 'fashion-vgg');
  await mkdir(folder);
  await rename(file, join(folder, 'manifest.json'));
  assert.equal((await resolveModel(folder)).name, 'small');
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
      /\(.*fashion-vgg.*\), or the path of a manifest or of a folder that holds a manifest\.json$/,
    );
    return true;
  });
  await assert.rejects(resolveModel('no/such.json'), /^UnknownModelError: there is no model "no\/such\.json": give an/);
});
