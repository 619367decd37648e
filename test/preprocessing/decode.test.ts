import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../../src/preprocessing/decode.js';
import { readHeader } from '../../src/preprocessing/header.js';
import type { Picture } from '../../src/preprocessing/resample.js';
import { decodeSmallPng } from '../../src/preprocessing/small-png.js';
import {
  fixture,
  picture,
  png,
  pngChunk,
  pngHeader,
  pngPixels,
  referenceRows,
  sha256,
  sixteenBitGrey,
} from './fixtures.js';

/** By whichever of the two decoders reads it: only a plain PNG is for the other one. */
async function decoded(bytes: Uint8Array, exifOrientation = false): Promise<Picture> {
  const header = readHeader(bytes);
  const picture = header.format === 'PNG' ? decodeSmallPng(bytes, header) : undefined;
  return picture ?? (await decode(bytes, header, exifOrientation));
}

test("decode: Pillow's pixels of each reference picture but the one of 16 bits", async () => {
  assert.equal(referenceRows.length, 35);
  for (const { file, size, decoded_rgb_sha256 } of referenceRows) {
    const { pixels, width, height } = await decoded(picture(file));
    assert.deepEqual([width, height], size, file);
    if (file !== sixteenBitGrey) assert.equal(sha256(pixels), decoded_rgb_sha256, file);
  }
});

test('decode: of 16 bits the high byte is kept, for every value there is', async () => {
  const rows = Array.from({ length: 256 }, (_, y) =>
    Uint8Array.from({ length: 512 }, (_, i) => (i % 2 === 0 ? y : i >> 1)),
  );
  const { pixels } = await decoded(png(pngHeader(256, 256, 16), pngPixels(rows)));
  assert.deepEqual(pixels, Buffer.from(Array.from({ length: 256 * 256 * 3 }, (_, i) => Math.trunc(i / 3 / 256))));
});

test("decode: Pillow's pixels of every other kind of picture, as they are and turned by their EXIF", async (t) => {
  const kinds: { file: string; rgb_sha256: string; turned: [number, number]; turned_sha256: string }[] = JSON.parse(
    fixture('kinds.json').toString(),
  );
  assert.equal(kinds.length, 56);
  for (const { file, rgb_sha256, turned, turned_sha256 } of kinds) {
    await t.test(file, async () => {
      assert.equal(sha256((await decoded(fixture(`kinds/${file}`))).pixels), rgb_sha256);
      const { pixels, width, height } = await decoded(fixture(`kinds/${file}`), true);
      assert.deepEqual([width, height], turned);
      assert.equal(sha256(pixels), turned_sha256);
    });
  }
});

type Edit = ['cut', length: number] | ['put', offset: number, hex: string] | ['append', hex: string];

function edited(bytes: Buffer<ArrayBuffer>, edits: Edit[]): Buffer<ArrayBuffer> {
  for (const edit of edits) {
    switch (edit[0]) {
      case 'cut':
        bytes = bytes.subarray(0, edit[1]);
        break;
      case 'put':
        Buffer.from(edit[2], 'hex').copy(bytes, edit[1]);
        break;
      case 'append':
        bytes = Buffer.concat([bytes, Buffer.from(edit[1], 'hex')]);
        break;
      default:
        return edit satisfies never;
    }
  }
  return bytes;
}

test('decode: a damaged file is refused where Pillow refuses it, and read to the same pixels where it does not', async () => {
  const rows: { file: string; edits: Edit[]; rgb_sha256: string | null }[] = JSON.parse(
    fixture('damage.json').toString(),
  );
  assert.equal(rows.length, 462);
  for (const { file, edits, rgb_sha256 } of rows) {
    const bytes = edited(fixture(file), edits);
    const what = `${file} ${JSON.stringify(edits)}`;
    if (rgb_sha256 !== null) {
      assert.equal(sha256((await decoded(bytes)).pixels), rgb_sha256, what);
      continue;
    }
    const codes =
      edits[0]?.[0] === 'cut' && edits.length === 1
        ? ['not_an_image', 'image_truncated']
        : ['not_an_image', 'image_truncated', 'image_corrupt'];
    await assert.rejects(decoded(bytes), ({ code, message }) => {
      assert.ok(codes.includes(code), `${what}: ${code}`);
      assert.doesNotMatch(message, /vips|libpng|jpeg:|webp:|\//i);
      return true;
    });
  }
});

const grey = (rows: number) => Array.from({ length: rows }, (_, y) => Uint8Array.of(y, y + 50, y + 100));

test('decode: a PNG without its last chunk', async () => {
  const whole = png(pngHeader(3, 2), pngPixels(grey(2)));
  const expected = (await decoded(whole)).pixels;
  assert.deepEqual(new Uint8Array((await decoded(whole.subarray(0, whole.length - 12))).pixels), expected);
});

test('decode: a PNG whose pixels have a wrong checksum', async () => {
  const pixels = pngPixels(grey(2));
  const expected = (await decoded(png(pngHeader(3, 2), pixels))).pixels;
  pixels.writeUInt32BE(7, pixels.length - 4);
  assert.deepEqual(new Uint8Array((await decoded(png(pngHeader(3, 2), pixels))).pixels), expected);
});

test('decode: a PNG that Pillow reads and we do not', async () => {
  const header = pngHeader(3, 2);
  const pixels = pngPixels(grey(2));
  const data = pixels.subarray(8, pixels.length - 4);
  const cases = {
    'a row is missing': png(header, pngPixels(grey(1))),
    'the checksum of the compressed data is missing': png(header, pngChunk('IDAT', data.subarray(0, data.length - 4))),
    'an unknown chunk says that it is needed': png(header, pngChunk('ABCD'), pixels),
    'the header comes twice': png(header, header, pixels),
  };
  for (const [what, bytes] of Object.entries(cases)) {
    await assert.rejects(
      decoded(bytes),
      { code: 'image_corrupt', message: 'The PNG file is damaged: its pixels cannot be decoded.' },
      what,
    );
  }
});

test('decode: a PNG that we read and Pillow does not', async () => {
  const pixels = pngPixels(grey(2));
  const expected = (await decoded(png(pngHeader(3, 2), pixels))).pixels;
  for (const chunk of [pngChunk('pHYs', Buffer.alloc(3)), pngChunk('tRNS', Buffer.alloc(1))]) {
    assert.deepEqual((await decoded(png(pngHeader(3, 2), chunk, pixels))).pixels, expected);
  }
});

test('decode: more pixels in the file than its header was read to have', async () => {
  const bytes = picture('chelsea_2x3.png');
  await assert.rejects(decode(bytes, { ...readHeader(bytes), height: 2 }, false), { code: 'image_corrupt' });
});
