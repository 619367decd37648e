import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readHeader } from '../../src/preprocessing/header.js';
import { checkBytes, checkSize } from '../../src/preprocessing/limits.js';
import { png, pngHeader, pngPixels } from './fixtures.js';

const limits = { maxBytes: 100, maxPixels: 50_000_000, maxAspect: 1000 };

test('checkBytes: none, as many as allowed, one more', () => {
  assert.throws(() => checkBytes(new Uint8Array(0), limits), { code: 'empty_body' });
  checkBytes(new Uint8Array(100), limits);
  assert.throws(() => checkBytes(new Uint8Array(101), limits), {
    code: 'image_too_many_bytes',
    message: 'The picture has 101 bytes; it may have at most 100: make it smaller first.',
  });
});

test('checkSize: a decompression bomb of less than 100 bytes', () => {
  const bomb = png(pngHeader(60_000, 60_000), pngPixels([]));
  assert.ok(bomb.length < 100);
  assert.throws(() => checkSize(readHeader(bomb), limits, false), {
    code: 'image_too_many_pixels',
    message: 'The picture is 60000 x 60000 pixels; it may have at most 50000000 in all: make it smaller first.',
  });
});

test('checkSize: as many pixels as allowed, one more', () => {
  const header = { format: 'PNG', cmyk: false, cost: { upright: 3, turned: 6 } } as const;
  checkSize({ ...header, width: 5000, height: 10_000 }, limits, false);
  assert.throws(() => checkSize({ ...header, width: 4001, height: 12_497 }, limits, false), {
    code: 'image_too_many_pixels',
  });
});

test('checkSize: a picture that would take more than 16 bytes for each pixel that it may have', () => {
  const header = { format: 'PNG', cmyk: false, cost: { upright: 11, turned: 20 }, width: 5000, height: 8001 } as const;
  checkSize(header, limits, false);
  checkSize({ ...header, height: 8000 }, limits, true);
  assert.throws(() => checkSize(header, limits, true), {
    code: 'image_too_many_pixels',
    message:
      'The picture is 5000 x 8001 pixels and takes 800100000 bytes to decode as it is stored; it may take at most ' +
      '800000000: make it smaller, or store it with 8 bits a sample, not interlaced.',
  });
});

test('checkSize: as thin as allowed, one more, either way up', () => {
  const header = { format: 'PNG', cmyk: false, cost: { upright: 3, turned: 6 } } as const;
  checkSize({ ...header, width: 9, height: 9000 }, limits, false);
  checkSize({ ...header, width: 9000, height: 9 }, limits, false);
  assert.throws(() => checkSize({ ...header, width: 9, height: 16_000 }, limits, false), {
    code: 'image_extreme_aspect',
    message: 'The picture is 9 x 16000 pixels; its long side may be at most 1000 times its short one: crop it first.',
  });
  assert.throws(() => checkSize({ ...header, width: 9001, height: 9 }, limits, false), {
    code: 'image_extreme_aspect',
  });
});
