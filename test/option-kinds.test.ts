import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heightByWidth, imagenetTransforms, transforms, webAddress } from '../src/option-kinds.js';

test('heightByWidth: two numbers, height first', () => {
  const kind = heightByWidth('HEIGHTxWIDTH', 100);
  assert.deepEqual(kind.parse('2x3'), [2, 3]);
  assert.deepEqual(kind.parse('1x100'), [1, 100]);
  assert.equal(kind.show([2, 3]), '2x3');
  for (const refused of ['', '7', '2x', 'x3', '0x3', '2x101', '2X3', '2 x 3', '-1x2', '2x3x4', '1.5x2'])
    assert.equal(kind.parse(refused), undefined, refused);
});

test('transforms: a name, two numbers or eight', () => {
  const kind = transforms('TRANSFORMS');
  assert.deepEqual(kind.parse('imagenet'), {
    resize: 256,
    crop: 224,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
  });
  assert.deepEqual(kind.parse('64,48'), { ...imagenetTransforms, resize: 64, crop: 48 });
  const all = { resize: 32, crop: 28, mean: [0, 0.25, 1], std: [1, 0.5, 2] } as const;
  assert.deepEqual(kind.parse('32, 28, 0, 0.25, 1, 1, 0.5, 2'), all);
  assert.deepEqual(kind.parse(kind.show(all)), all);
});

test('transforms: what is not allowed', () => {
  const kind = transforms('TRANSFORMS');
  for (const refused of [
    '',
    'ImageNet',
    '256',
    '256,',
    '256,224,0.5',
    '32,28,0,0,0,1,1',
    '32,28,0,0,0,1,1,1,1',
    '0,28',
    '32.5,28',
    '32,65537',
    '32,28,0,0,0,1,0,1',
    '32,28,-1,0,0,1,1,1',
    '1e2,28',
  ])
    assert.equal(kind.parse(refused), undefined, refused);
});

test('webAddress: http or https, and a host', () => {
  const kind = webAddress('URL');
  for (const allowed of ['http://mirror', 'HTTPS://mirror:8443/torch/?key=a', 'http://ada:secret@[::1]/'])
    assert.equal(kind.parse(allowed), allowed);
  for (const refused of ['', 'mirror', 'mirror:80', 'ftp://mirror', 'file:///models', 'http://', 'http://a b'])
    assert.equal(kind.parse(refused), undefined, refused);
});
