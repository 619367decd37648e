import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import { readHeader } from '../../src/preprocessing/header.js';
import { blackPng, fixture, picture, png, pngChunk, pngHeader, pngPixels, referenceRows } from './fixtures.js';

test('readHeader: the size of each reference picture', () => {
  for (const { file, size } of referenceRows) {
    const { width, height } = readHeader(picture(file));
    assert.deepEqual([width, height], size, file);
  }
});

test('readHeader: WebP of all three kinds', () => {
  const kinds = {
    'images/chelsea_lossy.webp': 'VP8 ',
    'images/chelsea_lossless.webp': 'VP8L',
    'images/chelsea_alpha.webp': 'VP8X',
  };
  for (const [file, chunk] of Object.entries(kinds)) {
    assert.equal(fixture(file).toString('latin1', 12, 16), chunk);
    assert.deepEqual(readHeader(fixture(file)), {
      format: 'WebP',
      width: 451,
      height: 300,
      cmyk: false,
      cost: { upright: 8, turned: 9 },
    });
  }
  const largest = Buffer.alloc(30);
  largest.write('RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0', 'latin1');
  largest.fill(0xff, 24);
  assert.deepEqual(readHeader(largest), {
    format: 'WebP',
    width: 2 ** 24,
    height: 2 ** 24,
    cmyk: false,
    cost: { upright: 8, turned: 9 },
  });
});

test('readHeader: a JPEG of four channels is CMYK, of one or three it is not', () => {
  assert.equal(readHeader(fixture('kinds/ycck.jpg')).cmyk, true);
  assert.equal(readHeader(fixture('kinds/rgb.jpg')).cmyk, false);
  assert.equal(readHeader(picture('chelsea_grey.jpg')).cmyk, false);
});

test('readHeader: bytes in the middle of a larger buffer', () => {
  for (const file of ['rocket.jpg', 'chelsea_rgb.png', 'chelsea_alpha.webp']) {
    const bytes = picture(file);
    const inside = Buffer.concat([Buffer.alloc(77, 0xff), bytes, Buffer.alloc(99)]).subarray(77, 77 + bytes.length);
    assert.deepEqual(readHeader(inside), readHeader(bytes));
  }
});

test('readHeader: a file that ends before its size', () => {
  const shortest = { 'rocket.jpg': 3, 'chelsea_rgb.png': 8, 'chelsea_lossy.webp': 12 };
  for (const [file, shortestLength] of Object.entries(shortest)) {
    for (const length of [shortestLength, shortestLength + 8, shortestLength + 17]) {
      assert.throws(() => readHeader(picture(file).subarray(0, length)), {
        code: 'image_truncated',
        message: new RegExp(
          `^The (JPEG|PNG|WebP) file ends after ${length} bytes, before its picture does: send the whole file\\.$`,
        ),
      });
    }
  }
});

test('readHeader: a width or height of zero', () => {
  const jpeg = Buffer.from(fixture('kinds/sampling-444.jpg'));
  jpeg.writeUInt16BE(0, jpeg.indexOf(Buffer.of(0xff, 0xc0)) + 5);
  for (const bytes of [png(pngHeader(0, 5), pngPixels([])), png(pngHeader(5, 0), pngPixels([])), jpeg]) {
    assert.throws(() => readHeader(bytes), {
      code: 'image_corrupt',
      message: /^The (JPEG|PNG) file is damaged: it says that it is \d+ x \d+ pixels\.$/,
    });
  }
});

test('readHeader: a PNG with a wrong checksum before its pixels', () => {
  const text = pngChunk('tEXt', Buffer.from('a\0b'));
  text.writeUInt32BE(7, text.length - 4);
  const header = pngHeader(5, 5);
  header.writeUInt32BE(7, header.length - 4);
  const pixels = pngPixels([]);
  for (const [type, chunks] of [
    ['tEXt', [pngHeader(5, 5), text, pixels]],
    ['IHDR', [header, pixels]],
  ] as const) {
    assert.throws(() => readHeader(png(...chunks)), {
      code: 'image_corrupt',
      message: `The PNG file is damaged: the checksum of its chunk "${type}" is wrong.`,
    });
  }
  assert.equal(readHeader(png(pngHeader(5, 5), pixels, text)).width, 5);
});

test('readHeader: a PNG that does not begin with its header', () => {
  for (const chunks of [[pngPixels([]), pngHeader(5, 5)], [pngChunk('tEXt')], []]) {
    assert.throws(() => readHeader(png(...chunks)), {
      code: 'image_corrupt',
      message: /does not begin with its header/,
    });
  }
  assert.throws(() => readHeader(png(pngChunk('IHDR', Buffer.alloc(12)), pngPixels([]))), {
    code: 'image_corrupt',
    message: /its header is too short/,
  });
});

test('readHeader: a JPEG whose pixels come before its size', () => {
  const bytes = fixture('kinds/sampling-444.jpg');
  const withoutFrame = Buffer.from(bytes);
  withoutFrame[bytes.indexOf(Buffer.of(0xff, 0xc0)) + 1] = 0xfe; // a comment
  assert.throws(() => readHeader(withoutFrame), { code: 'image_corrupt', message: /its pixels come before its size/ });
});

test('readHeader: what each kind of picture costs to decode, in bytes a pixel', () => {
  const interlaced = (depth: number, colour: number) => {
    const bytes = pngHeader(5, 5, depth, colour);
    bytes[20] = 1;
    bytes.writeUInt32BE(crc32(bytes.subarray(4, 21)), 21);
    return png(bytes, pngPixels([]));
  };
  const costs = {
    'images/chelsea_baseline.jpg': [3, 6],
    'images/chelsea_cmyk.jpg': [4, 8],
    'images/chelsea_progressive.jpg': [6, 6], // Two of three channels have a quarter of the samples.
    'kinds/cmyk-progressive.jpg': [12, 12],
    'images/chelsea_grey.jpg': [3, 6],
  };
  for (const [file, cost] of Object.entries(costs)) {
    const { upright, turned } = readHeader(fixture(file)).cost;
    assert.deepEqual([upright, turned], cost, file);
  }
  assert.deepEqual(readHeader(interlaced(16, 6)).cost, { upright: 11, turned: 16.5 });
  assert.deepEqual(readHeader(interlaced(8, 2)).cost, { upright: 6, turned: 6.5 });
  assert.deepEqual(readHeader(interlaced(1, 3)).cost, { upright: 7, turned: 8.5 });
});

test('readHeader: a JPEG whose channels come in scans of their own is kept as a whole, as a progressive one is', () => {
  const bytes = Buffer.from(fixture('kinds/sampling-444.jpg'));
  assert.equal(readHeader(bytes).cost.upright, 3);
  bytes[bytes.indexOf(Buffer.of(0xff, 0xda)) + 4] = 1;
  assert.equal(readHeader(bytes).cost.upright, 9);
});

test('readHeader: JPEG that nobody decodes', () => {
  const bytes = fixture('kinds/sampling-444.jpg');
  const frame = bytes.indexOf(Buffer.of(0xff, 0xc0));
  const cases = [
    [1, 0xc3, /^This file is a lossless or hierarchical JPEG\./],
    [1, 0xc7, /^This file is a lossless or hierarchical JPEG\./],
    [4, 12, /^This file is a JPEG with 12 bits a sample, not 8\./],
    [9, 2, /^This file is a JPEG with 2 channels, not 1, 3 or 4\./],
  ] as const;
  for (const [offset, value, message] of cases) {
    const changed = Buffer.from(bytes);
    changed[frame + offset] = value;
    assert.throws(() => readHeader(changed), { code: 'format_not_allowed', message });
  }
});

test('readHeader: a WebP of an unknown kind', () => {
  const bytes = Buffer.from(picture('chelsea_lossy.webp'));
  bytes.write('VP9 ', 12);
  assert.throws(() => readHeader(bytes), { code: 'image_corrupt', message: /its first chunk is "VP9 "/ });
});

test('readHeader: a hostile file with no end of chunks or markers', () => {
  const chunks = Array.from({ length: 10_001 }, () => pngChunk('tEXt'));
  assert.throws(() => readHeader(png(pngHeader(5, 5), ...chunks)), {
    code: 'image_corrupt',
    message: /more than 10000 chunks precede its pixels/,
  });
  const markers = [Buffer.of(0xff, 0xe0, 0, 2), Buffer.of(0xff, 0)];
  for (const marker of markers) {
    const jpeg = Buffer.concat([Buffer.of(0xff, 0xd8, 0xff, 0xe0, 0, 2), Buffer.alloc(marker.length * 10_001, marker)]);
    assert.throws(() => readHeader(jpeg), {
      code: 'image_corrupt',
      message: /more than 10000 markers precede its pixels/,
    });
  }
});

test('readHeader: a PNG as small as they come', () => {
  assert.deepEqual(readHeader(blackPng(1, 1)), {
    format: 'PNG',
    width: 1,
    height: 1,
    cmyk: false,
    cost: { upright: 3.125, turned: 4 },
  });
});
