import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Manifest } from '../../src/model-registry/manifest.js';
import { embeddedSamples, resolveModel } from '../../src/model-registry/resolve.js';
import { checkSampleFolder, readSamples } from '../../src/model-registry/samples.js';
import { temporaryFolder } from './small-model.js';

const { signal } = new AbortController();
const vgg16 = await resolveModel('vgg16');

/** A picture is its bytes; one that begins with "!" cannot be read. */
async function preprocess(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes[0] === '!'.charCodeAt(0)) throw new Error('no picture');
  return bytes;
}

function write(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

async function read(manifest: Manifest, folder?: string) {
  const { from, pictures, skipped } = await readSamples(manifest, { folder, maxBytes: 10, preprocess }, signal);
  return { from, skipped, pictures: pictures.map((picture) => Buffer.from(picture).toString()) };
}

test('readSamples of a folder: its pictures at any depth, sorted; what cannot be read is skipped and counted', async (t) => {
  const folder = join(temporaryFolder(t), 'my pictures');
  write(folder, {
    'b/two.JPEG': 'two',
    'a.png': 'one',
    'c.webp': 'three',
    'bad.jpg': '!',
    'large.jpg': 'more than 10 bytes',
    'notes.txt': 'no',
    '.hidden.png': 'no',
    '.cache/d.png': 'no',
  });
  mkdirSync(join(folder, 'folder.png'));
  symlinkSync(join(folder, 'a.png'), join(folder, 'd.png'));
  assert.deepEqual(await read(vgg16, folder), {
    from: 'my pictures',
    pictures: ['one', 'two', 'three', 'one'],
    skipped: 3,
  });
});

test('readSamples of more than 200 pictures: every n-th of them', async (t) => {
  const folder = temporaryFolder(t);
  write(folder, Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`${1000 + at}.png`, String(at)])));
  const { pictures, skipped } = await read(vgg16, folder);
  assert.deepEqual([pictures.length, skipped], [200, 0]);
  assert.deepEqual(pictures.slice(0, 3), ['0', '2', '5']);
  assert.equal(pictures.at(-1), '497');
});

test('readSamples of a network with a large input: no more than fit into 64 MiB', async (t) => {
  const folder = temporaryFolder(t);
  write(folder, Object.fromEntries(Array.from({ length: 9 }, (_, at) => [`${at}.png`, String(at)])));
  const large = (crop: number) => ({ ...vgg16, transforms: { ...vgg16.transforms, crop } });
  assert.equal((await read(large(2048), folder)).pictures.length, 5);
  assert.equal((await read(large(65_536), folder)).pictures.length, 1);
});

test("readSamples without a folder: those beside the model's weights, else those of the embedded model", async (t) => {
  const folder = temporaryFolder(t);
  const own: Manifest = { ...vgg16, source: { kind: 'file', path: join(folder, 'own.pth') } };
  const embedded = `the samples of ${embeddedSamples().model}`;
  assert.equal((await read(vgg16)).from, embedded);
  assert.equal((await read(own)).from, embedded);
  write(folder, { 'samples/one.png': 'one' });
  assert.deepEqual(await read(own), { from: "the model's own samples", pictures: ['one'], skipped: 0 });
  rmSync(join(folder, 'samples/one.png'));
  assert.equal((await read(own)).from, embedded);
  assert.equal((await read(await resolveModel(embeddedSamples().model))).from, "the model's own samples");
});

test('a folder without pictures, none, and what is none: each is said with its path', async (t) => {
  const folder = temporaryFolder(t);
  write(folder, { 'notes.txt': '' });
  for (const [path, reason] of [
    [folder, 'there is no picture in it (.jpg .jpeg .png .webp)'],
    [join(folder, 'nowhere'), 'there is no such folder'],
    [join(folder, 'notes.txt'), 'it is no folder'],
  ] as const) {
    const expected = { name: 'SamplesError', message: `${path}: ${reason}` };
    await assert.rejects(checkSampleFolder(path), expected);
    await assert.rejects(read(vgg16, path), expected);
  }
});

test('readSamples stops at the signal', async () => {
  const reader = { maxBytes: 1e6, preprocess };
  await assert.rejects(readSamples(vgg16, reader, AbortSignal.abort(new Error('given up'))), { message: 'given up' });
});
