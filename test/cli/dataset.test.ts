import assert from 'node:assert/strict';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { DatasetError, readDataset } from '../../src/cli/dataset.js';
import { categories, temporaryDir, writeTree } from './command.js';

test('readDataset: a folder is named by its category, by that with _ for /, or by its index', async (t) => {
  const dir = await temporaryDir(t);
  await writeTree(dir, { 'Ankle boot/a.png': '', 'T-shirt_top/a.png': '', '05/a.png': '', '8/a.png': '' });
  const pictures = await readDataset(dir, categories);
  assert.deepEqual(
    pictures.map(({ relativePath, classIndex }) => [relativePath, classIndex]),
    [
      ['05/a.png', 5],
      ['8/a.png', 8],
      ['Ankle boot/a.png', 9],
      ['T-shirt_top/a.png', 0],
    ],
  );
  assert.equal(pictures[0]?.file, join(dir, '05/a.png'));
});

test('readDataset: takes the endings of ImageFolder at any depth, follows links, passes over names with a dot first', async (t) => {
  const dir = await temporaryDir(t);
  await writeTree(dir, {
    'Bag/b.JPEG': '',
    'Bag/deep/er/a.webp': '',
    'Bag/c.bmp': '',
    'Bag/notes.txt': '',
    'Bag/.hidden.png': '',
    'Bag/.thumbs/a.png': '',
    '.git/a.png': '',
    'readme.png': '',
  });
  await symlink(join(dir, 'Bag'), join(dir, 'Coat'));
  await symlink(join(dir, 'Bag/c.bmp'), join(dir, 'Bag/link.png'));
  const paths = (await readDataset(dir, categories)).map(({ relativePath }) => relativePath);
  const ofEach = ['b.JPEG', 'c.bmp', 'deep/er/a.webp', 'link.png'];
  assert.deepEqual(paths, [...ofEach.map((name) => `Bag/${name}`), ...ofEach.map((name) => `Coat/${name}`)]);
});

test('readDataset: the order is that of the bytes of the whole path', async (t) => {
  const dir = await temporaryDir(t);
  await writeTree(dir, { '1/a/x.png': '', '1/a.png': '', '1/B.png': '', '1/\u{ff5e}.png': '', '1/\u{1f461}.png': '' });
  const paths = (await readDataset(dir, categories)).map(({ relativePath }) => relativePath);
  // Python's sorted() gives the same; by UTF-16 units the shoe would stand before the tilde.
  assert.deepEqual(paths, ['1/B.png', '1/a.png', '1/a/x.png', '1/\u{ff5e}.png', '1/\u{1f461}.png']);
});

test('readDataset: every folder that belongs to no class or to several is named', async (t) => {
  const dir = await temporaryDir(t);
  await writeTree(dir, {
    'crane/a.png': '',
    '1/a.png': '',
    'a_b/a.png': '',
    'boots/a.png': '',
    '7/a.png': '',
    'heron/a.png': '',
  });
  await assert.rejects(readDataset(dir, ['crane', 'heron', 'crane', 'a/b', 'a_b', '1']), (error) => {
    assert.ok(error instanceof DatasetError);
    const [head, ...faults] = error.message.split('\n');
    assert.match(head ?? '', /whose class is not clear \(name each by an index from 0 to 5, or by a category/);
    assert.deepEqual(faults, [
      '  1: may be class 5 (1) or class 1 (heron)',
      '  7: no such class',
      '  a_b: may be class 3 (a/b) or class 4 (a_b)',
      '  boots: no such class',
      '  crane: may be class 0 (crane) or class 2 (crane)',
    ]);
    return true;
  });
});

test('readDataset of a folder without folders, without pictures, or that is not there', async (t) => {
  const dir = await temporaryDir(t);
  await writeTree(dir, { 'flat/a.png': '', 'empty/Bag/notes.txt': '' });
  await assert.rejects(readDataset(join(dir, 'flat'), categories), /flat holds no folder: give a folder that holds/);
  await assert.rejects(readDataset(join(dir, 'empty'), categories), /the folders of .*empty hold no picture \(\.jpg /);
  await assert.rejects(readDataset(join(dir, 'missing'), categories), { code: 'ENOENT' });
});
