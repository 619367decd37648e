import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import type { Header } from '../../src/preprocessing/container.js';
import { decode } from '../../src/preprocessing/decode.js';
import { readHeader } from '../../src/preprocessing/header.js';
import type { Picture } from '../../src/preprocessing/resample.js';
import { decodeSmallPng } from '../../src/preprocessing/small-png.js';
import { fixture, png, pngChunk, pngHeader } from './fixtures.js';

const colourTypes = [0, 2, 3, 4, 6] as const;
const samples = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 } as const;
const bytes = (constraints: fc.IntArrayConstraints) => fc.uint8Array(constraints);

/** Chunks that a plain PNG may have before its pixels; most of their contents are nonsense. */
const extra = fc
  .tuple(
    fc.constantFrom('gAMA', 'cHRM', 'sRGB', 'sBIT', 'bKGD', 'pHYs', 'tRNS', 'tEXt', 'tIME'),
    bytes({ maxLength: 40 }),
  )
  .map(([type, data]) => pngChunk(type, data));

/** PNG files that are plain, of any pixels: each line has a filter type of its own and random bytes behind it. */
const plainPng = fc
  .record({
    width: side(),
    height: side(),
    colour: fc.constantFrom(...colourTypes),
    level: fc.integer({ max: 9, min: 0 }),
  })
  .chain(({ width, height, colour, level }) => {
    const rowBytes = width * samples[colour];
    const line = fc
      .tuple(fc.integer({ min: 0, max: 4 }), bytes({ minLength: rowBytes, maxLength: rowBytes }))
      .map(([filter, row]) => Uint8Array.of(filter, ...row));
    return fc
      .record({
        lines: fc.array(line, { minLength: height, maxLength: height }),
        colours: fc.integer({ min: 1, max: 256 }).chain((n) => bytes({ minLength: 3 * n, maxLength: 3 * n })),
        before: fc.array(extra, { maxLength: 2 }),
        after: fc.array(extra, { maxLength: 2 }),
        cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
      })
      .map(({ lines, colours, before, after, cuts }) => {
        const data = deflateSync(Buffer.concat(lines), { level });
        const edges = [0, ...cuts.map((cut) => Math.trunc(cut * data.length)).sort((a, b) => a - b), data.length];
        return png(
          pngHeader(width, height, 8, colour),
          ...before,
          ...(colour === 3 ? [pngChunk('PLTE', colours)] : []),
          ...after,
          ...edges.slice(1).map((to, i) => pngChunk('IDAT', data.subarray(edges[i], to))),
        );
      });
  });

function side(): fc.Arbitrary<number> {
  return fc.integer({ min: 1, max: 20 });
}

type Damage = (file: Buffer, at: number) => void;
const damages: readonly Damage[] = [
  (file, at) => (file[at] = (file[at] ?? 0) ^ (1 << (at % 8))),
  (file, at) => (file[at] = 0xff),
  (file, at) => file.subarray(at, at + 5).fill(0),
];

/** With the checksums made right again, so that the damage reaches further. */
function mended(file: Buffer): Buffer {
  for (let at = 8; at + 12 <= file.length; ) {
    const end = at + 8 + file.readUInt32BE(at);
    if (end + 4 > file.length) break;
    file.writeUInt32BE(crc32(file.subarray(at + 4, end)), end);
    at = end + 4;
  }
  return file;
}

async function outcome(
  decoder: () => Picture | undefined | Promise<Picture>,
): Promise<Picture | 'refused' | undefined> {
  try {
    return await decoder();
  } catch {
    return 'refused';
  }
}

function header(file: Uint8Array): Header | undefined {
  try {
    return readHeader(file);
  } catch {
    return undefined;
  }
}

test("decodeSmallPng: libvips' pixels of every plain PNG", async () => {
  await fc.assert(
    fc.asyncProperty(plainPng, async (file) => {
      const picture = decodeSmallPng(file, readHeader(file));
      const { pixels, width, height } = await decode(file, readHeader(file), false);
      assert.deepEqual(picture, { pixels: new Uint8Array(pixels), width, height });
    }),
    { numRuns: 300 },
  );
});

test('decodeSmallPng: of a damaged file it gives what libvips gives, or leaves it to libvips', async () => {
  let read = 0;
  const damage = fc.record({ how: fc.constantFrom(...damages), where: fc.double({ min: 0, max: 1, noNaN: true }) });
  await fc.assert(
    fc.asyncProperty(plainPng, damage, fc.boolean(), fc.boolean(), async (whole, { how, where }, isMended, isCut) => {
      const damaged = Buffer.from(whole);
      const at = 8 + Math.trunc(where * (damaged.length - 9));
      how(damaged, at);
      const file = isMended ? mended(damaged) : isCut ? whole.subarray(0, at) : damaged;
      const found = header(file);
      if (!found || found.width * found.height > 100_000) return;
      const ours = await outcome(() => decodeSmallPng(file, found));
      if (ours === undefined) return;
      assert.ok(ours !== 'refused');
      read++;
      const theirs = await outcome(() => decode(file, found, false));
      assert.ok(theirs !== undefined && theirs !== 'refused');
      assert.deepEqual(ours.pixels, new Uint8Array(theirs.pixels));
    }),
    { numRuns: 1000 },
  );
  assert.ok(read > 10, `${read} of the damaged files were still plain`);
});

test('decodeSmallPng: what is not plain is left to libvips', () => {
  const pixels = pngChunk('IDAT', deflateSync(Buffer.from([0, 1, 2, 3, 0, 4, 5, 6])));
  const grey = pngHeader(3, 2);
  const plain = png(grey, pixels);
  assert.deepEqual(
    decodeSmallPng(plain, readHeader(plain))?.pixels,
    Uint8Array.of(1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6),
  );
  const wrongChecksum = Buffer.from(pixels);
  wrongChecksum.writeUInt32BE(7, wrongChecksum.length - 4);
  const of = (lines: readonly number[]) => pngChunk('IDAT', deflateSync(Buffer.from(lines)));
  const cases: Record<string, Buffer> = {
    'two rows where there should be three': png(pngHeader(3, 3), pixels),
    'a row too many': png(pngHeader(3, 1), pixels),
    'an unknown filter type': png(grey, of([0, 1, 2, 3, 5, 4, 5, 6])),
    'bytes behind the compressed data': png(
      grey,
      pngChunk('IDAT', Buffer.concat([pixels.subarray(8, -4), Buffer.of(0)])),
    ),
    'compressed data without their checksum': png(grey, pngChunk('IDAT', pixels.subarray(8, -8))),
    'a wrong checksum': png(grey, wrongChecksum),
    'no last chunk': plain.subarray(0, plain.length - 12),
    'a cut last chunk': plain.subarray(0, plain.length - 1),
    'a chunk behind the pixels': png(grey, pixels, pngChunk('tEXt')),
    'pixels in two places': png(grey, pixels, pngChunk('tEXt'), pixels),
    'an EXIF header': png(grey, pngChunk('eXIf'), pixels),
    'an unknown chunk': png(grey, pngChunk('abCd'), pixels),
    'a palette that grey does not have': png(grey, pngChunk('PLTE', Buffer.alloc(3)), pixels),
    'no palette': png(pngHeader(3, 2, 8, 3), pixels),
    'a palette of half a colour': png(pngHeader(3, 2, 8, 3), pngChunk('PLTE', Buffer.alloc(4)), pixels),
    'two palettes': png(pngHeader(3, 2, 8, 3), ...Array(2).fill(pngChunk('PLTE', Buffer.alloc(3))), pixels),
    'a second header': png(grey, grey, pixels),
    '16 bits': png(pngHeader(1, 2, 16), of([0, 1, 2, 0, 3, 4])),
    '4 bits': png(pngHeader(6, 2, 4), pixels),
    'more than 4,096 pixels': png(pngHeader(4097, 1), of(Array(4098).fill(0))),
  };
  for (const [what, file] of Object.entries(cases))
    assert.equal(decodeSmallPng(file, readHeader(file)), undefined, what);
  for (const file of ['interlaced.png', 'interlaced-3x2.png', 'palette-4.png', 'rgb-16.png', 'exif-6.png']) {
    const bytes = fixture(`kinds/${file}`);
    assert.equal(decodeSmallPng(bytes, readHeader(bytes)), undefined, file);
  }
  const taller = { ...readHeader(plain), height: 1 };
  assert.equal(decodeSmallPng(plain, taller), undefined, 'another size than its header was read to have');
});
