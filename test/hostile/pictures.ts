import type { ErrorCode } from '../../src/errors.js';
import { fixture, picture, png, pngChunk } from '../preprocessing/fixtures.js';
import { type HostileCase, noise, randomNumbers } from './case.js';
import * as jpeg from './jpeg-builder.js';
import * as pngs from './png-builder.js';
import * as webps from './webp-builder.js';
import { zeroStream } from './zero-stream.js';

export type PictureOutcome = 'read' | ErrorCode;
export type HostilePicture = HostileCase<PictureOutcome>;

const read = ['read'] as const;
const refused = ['image_corrupt'] as const;
const tooLarge = ['image_too_many_pixels'] as const;
/** Where libjpeg, libpng or libwebp decide how much damage is too much. */
const either = ['read', 'image_corrupt', 'image_truncated'] as const;

type Row = readonly [name: string, outcomes: readonly PictureOutcome[], make: HostilePicture['make']];

function rows(kind: string, list: readonly Row[]): HostilePicture[] {
  return list.map(([name, outcomes, make]) => ({ kind, name, outcomes, make }));
}

const small = { width: 64, height: 48 };
/** As many pixels as a picture may have. */
const largest = { width: 7071, height: 7071 };

const bombs = rows('bombs', [
  ['PNG of 1 x 16,000', ['image_extreme_aspect'], () => pngs.blank({ width: 1, height: 16_000 })],
  ['JPEG of 65,535 x 65,535', tooLarge, () => Buffer.concat([jpeg.SOI, jpeg.frame({ width: 65_535, height: 65_535 })])],
  ['PNG of 65,535 x 65,535', tooLarge, () => pngs.blank({ width: 65_535, height: 65_535, depth: 1 }, Buffer.alloc(0))],
  [
    'PNG of 2,147,483,647 x 2,147,483,647',
    tooLarge,
    () => png(pngs.header({ width: 2 ** 31 - 1, height: 2 ** 31 - 1 }), pngChunk('IDAT')),
  ],
  [
    'PNG of 4,294,967,295 x 4,294,967,295',
    tooLarge,
    () => png(pngs.header({ width: 2 ** 32 - 1, height: 2 ** 32 - 1 }), pngChunk('IDAT')),
  ],
  ['WebP of 16,383 x 16,383 in 40 bytes', tooLarge, () => webps.webp(webps.losslessChunk(16_383, 16_383))],
  [
    'WebP with a canvas of 16,777,216 x 16,777,216',
    tooLarge,
    () => webps.webp(webps.canvasChunk(2 ** 24, 2 ** 24), webps.losslessChunk(8, 8)),
  ],
  [
    'PNG of 50,000 x 50,000, all there in 307 kB',
    tooLarge,
    () => pngs.blank({ width: 50_000, height: 50_000, depth: 1 }),
  ],
  ['PNG that inflates to 4 GB, its header says 64 x 48', read, () => png(pngs.header(small), pngs.pixels(small, 4e9))],
  [
    'PNG that inflates to 4 GB, its header says 900 x 900',
    read,
    () => png(pngs.header({ width: 900, height: 900 }), pngs.pixels(small, 4e9)),
  ],
  ['APNG of 1,000 frames', read, () => animatedPng(1000)],
  ['APNG that says it has 2,147,483,647 frames', read, () => animatedPng(1, 2 ** 31 - 1)],
  ['WebP of 1,000 frames', read, () => animatedWebp(1000, 64, 48)],
  [
    'WebP whose first frame is larger than its canvas',
    refused,
    () =>
      webps.webp(
        webps.canvasChunk(8, 8, 2),
        webps.animationChunk(),
        webps.frameChunk(7000, 7000, webps.losslessChunk(7000, 7000)),
      ),
  ],
  [
    'WebP whose picture is larger than its canvas',
    refused,
    () => webps.webp(webps.canvasChunk(8, 8), webps.losslessChunk(7000, 7000)),
  ],
  [
    'WebP whose frame holds a larger picture',
    refused,
    () =>
      webps.webp(
        webps.canvasChunk(64, 64, 2),
        webps.animationChunk(),
        webps.frameChunk(64, 64, webps.losslessChunk(7000, 7000)),
      ),
  ],
  [
    'JPEG with a second, larger frame header',
    refused,
    () => jpeg.blank(small, jpeg.frame({ width: 60, height: 40 }), jpeg.frame(largest)),
  ],
  ['JPEG of 65 scans', refused, () => jpeg.blankProgressive(small, 64)],
  ['JPEG of 64 scans', read, () => jpeg.blankProgressive(small, 63)],
  ['progressive JPEG of 10,000 scans, 50 million pixels', refused, () => jpeg.blankProgressive(largest, 10_000)],
  ['JPEG of 9,999 scans of one channel', refused, () => repeatedScans(9999)],
]);

/**
 * The worst that is still read, where a picture may have side x side pixels: in memory, and in time.
 */
export const heaviestPictures = (side: number) => heaviest({ width: side, height: side });

const heaviest = (largest: jpeg.Frame) =>
  rows('largest that are read', [
    ['JPEG', read, () => jpeg.blank(largest)],
    ['JPEG, CMYK', read, () => jpeg.blank({ ...largest, channels: 4 }, jpeg.adobe(2))],
    ['JPEG, progressive', read, () => jpeg.blankProgressive(largest, 9)],
    ['JPEG, progressive, 64 scans', read, () => jpeg.blankProgressive(largest, 63)],
    ['JPEG, progressive, CMYK', read, () => jpeg.blankProgressive({ ...largest, channels: 4 }, 17, jpeg.adobe(2))],
    ['PNG of 16 bits, RGB and alpha', read, () => pngs.blank({ ...largest, depth: 16, colour: 6 })],
    [
      'PNG of 16 bits, RGB and alpha, interlaced',
      read,
      () => pngs.blank({ ...largest, depth: 16, colour: 6, interlace: 1 }),
    ],
    ['PNG of 1 bit, palette, interlaced', read, () => pngs.blank({ ...largest, depth: 1, colour: 3, interlace: 1 })],
    ['WebP, lossless', read, () => webps.webp(webps.losslessChunk(largest.width, largest.height))],
    ['WebP, a frame on a canvas', read, () => animatedWebp(1, largest.width, largest.height)],
    [
      'PNG a thousand times as high as wide',
      read,
      () => pngs.blank({ width: thin(largest), height: 1000 * thin(largest) }),
    ],
    [
      'PNG a thousand times as wide as high',
      read,
      () => pngs.blank({ width: 1000 * thin(largest), height: thin(largest) }),
    ],
    ['JPEG of 18 MB of noise', ['read'], () => noisy(0xc0, largest)],
    ['JPEG, arithmetic-coded, of 18 MB of noise', ['read'], () => noisy(0xc9, largest)],
    ['JPEG, arithmetic-coded and progressive, 24 scans of noise', ['read'], () => noisyProgressive(largest, 24)],
  ]);

const megabytes = (count: number) => noise(count * 1_000_000);

const metadata = rows('metadata', [
  ['PNG with 15 MB in iCCP', read, () => pngs.blank(small, pngs.compressedChunk('iCCP', megabytes(15)))],
  ['PNG whose iCCP inflates to 4 GB', read, () => pngs.blank(small, pngs.compressedChunk('iCCP', zeroStream(4e9)))],
  ['PNG whose zTXt inflates to 4 GB', read, () => pngs.blank(small, pngs.compressedChunk('zTXt', zeroStream(4e9)))],
  [
    'PNG with 900 zTXt of 8 MB each',
    read,
    () => pngs.blank({ width: 100, height: 100 }, ...repeat(900, pngs.compressedChunk('zTXt', zeroStream(7_900_000)))),
  ],
  [
    'PNG with 900 iTXt of 8 MB each',
    read,
    () => pngs.blank({ width: 100, height: 100 }, ...repeat(900, pngs.compressedChunk('iTXt', zeroStream(7_900_000)))),
  ],
  [
    'PNG with 900 zTXt behind its pixels',
    read,
    () =>
      png(pngs.header(small), pngs.pixels(small), ...repeat(900, pngs.compressedChunk('zTXt', zeroStream(7_900_000)))),
  ],
  [
    'PNG with 19 MB of tEXt',
    read,
    () => pngs.blank(small, pngChunk('tEXt', Buffer.concat([Buffer.from('key\0'), Buffer.alloc(19e6, 'x')]))),
  ],
  [
    'PNG with 10,001 chunks before its pixels',
    refused,
    () => pngs.blank(small, ...repeat(10_001, pngChunk('tEXt', Buffer.from('a\0b')))),
  ],
  [
    'PNG with a million chunks behind its pixels',
    read,
    () => png(pngs.header(small), pngs.pixels(small), Buffer.alloc(15e6, pngChunk('tEXt', Buffer.from('a\0b')))),
  ],
  [
    'PNG with a million empty IDAT',
    read,
    () => png(pngs.header(small), Buffer.alloc(12e6, pngChunk('IDAT')), pngs.pixels(small)),
  ],
  [
    'PNG with 15 MB in eXIf',
    read,
    () =>
      pngs.blank(
        small,
        pngChunk('eXIf', Buffer.concat([Buffer.from('MM\0*\0\0\0\x08\xff\xff', 'latin1'), megabytes(15)])),
      ),
  ],
  [
    'PNG whose eXIf refers to itself',
    read,
    () => pngs.blank({ width: 100, height: 100 }, pngChunk('eXIf', exifLoop())),
  ],
  [
    'JPEG with 290 EXIF segments of 64 kB',
    read,
    () =>
      jpeg.blank(
        small,
        ...repeat(
          290,
          jpeg.segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0MM\0*\0\0\0\x08\xff\xff', 'latin1'), noise(65_500)])),
        ),
      ),
  ],
  [
    'JPEG whose EXIF refers to itself',
    read,
    () => jpeg.blank(small, jpeg.segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), exifLoop()]))),
  ],
  ['JPEG with an ICC profile of 255 segments', read, () => jpeg.blank(small, ...iccSegments(255))],
  ['JPEG with ICC segments that count wrongly', read, () => jpeg.blank(small, ...iccSegments(255, 3))],
  ['JPEG with 19 MB of comments', read, () => jpeg.blank(small, ...repeat(290, jpeg.segment(0xfe, noise(65_500))))],
  [
    'JPEG with 10,001 markers before its pixels',
    refused,
    () => jpeg.blank(small, ...repeat(10_001, jpeg.segment(0xfe))),
  ],
  [
    'WebP with 15 MB in ICCP',
    read,
    () =>
      webps.webp(webps.canvasChunk(64, 48, 0x20), webps.riffChunk('ICCP', megabytes(15)), webps.losslessChunk(64, 48)),
  ],
  [
    'WebP with 15 MB in EXIF',
    either,
    () =>
      webps.webp(webps.canvasChunk(64, 48, 0x08), webps.losslessChunk(64, 48), webps.riffChunk('EXIF', megabytes(15))),
  ],
  [
    'WebP with 15 MB in XMP',
    read,
    () =>
      webps.webp(webps.canvasChunk(64, 48, 0x04), webps.losslessChunk(64, 48), webps.riffChunk('XMP ', megabytes(15))),
  ],
  [
    'WebP with a million unknown chunks',
    read,
    () =>
      webps.webp(
        webps.canvasChunk(64, 48),
        webps.losslessChunk(64, 48),
        Buffer.alloc(8e6, webps.riffChunk('????', Buffer.alloc(0))),
      ),
  ],
]);

const oddJpegs = rows('odd JPEG', [
  ['a million FF 00 behind its pixels', either, () => behindScan(Buffer.alloc(2e6, Buffer.of(0xff, 0)))],
  ['nine million FF 00 behind its pixels', either, () => behindScan(Buffer.alloc(18e6, Buffer.of(0xff, 0)))],
  ['nine million restart markers', either, () => behindScan(Buffer.alloc(18e6, Buffer.of(0xff, 0xd0)))],
  ['restart markers in the wrong order', either, () => behindScan(Buffer.from('ffd7ffd3ffd0ffd0ffd5', 'hex'))],
  ['19 MB of noise as its pixels', either, () => noisy(0xc0)],
  ['arithmetic-coded', read, () => fixture('kinds/arithmetic.jpg')],
  ['arithmetic-coded and progressive, 25 scans', refused, () => noisyProgressive(small, 25)],
  ['of 12 bits', ['format_not_allowed'], () => jpeg.blank({ ...small, code: 0xc1, bits: 12 })],
  ['of 16 bits', ['format_not_allowed'], () => jpeg.blank({ ...small, bits: 16 })],
  ['of 0 bits', ['format_not_allowed'], () => jpeg.blank({ ...small, bits: 0 })],
  ...[0xc3, 0xc5, 0xc6, 0xc7, 0xcb, 0xcd, 0xce, 0xcf].map(
    (code): Row => [
      `frame ${code.toString(16)}: lossless or hierarchical`,
      ['format_not_allowed'],
      () => jpeg.blank({ ...small, code }),
    ],
  ),
  [
    'hierarchical, by a DHP before the frame',
    refused,
    () => jpeg.blank(small, jpeg.segment(0xde, Buffer.from([8, 0, 48, 0, 64, 3, 1, 17, 0, 2, 17, 0, 3, 17, 0]))),
  ],
  ...[0, 2, 5, 255].map(
    (channels): Row => [`of ${channels} channels`, ['format_not_allowed'], () => jpeg.blank({ ...small, channels })],
  ),
  ...[0, 1, 2, 3, 255].map(
    (transform): Row => [
      `of four channels, Adobe transform ${transform}`,
      read,
      () => jpeg.blank({ ...small, channels: 4 }, jpeg.adobe(transform)),
    ],
  ),
  ...[0, 1, 2, 255].map(
    (transform): Row => [
      `of three channels, Adobe transform ${transform}`,
      read,
      () => jpeg.blank(small, jpeg.adobe(transform)),
    ],
  ),
  ['of one channel, Adobe transform 2', read, () => jpeg.blank({ ...small, channels: 1 }, jpeg.adobe(2))],
  [
    'an Adobe marker that is too short',
    read,
    () => jpeg.blank({ ...small, channels: 4 }, jpeg.segment(0xee, Buffer.from('Adobe'))),
  ],
  ['two Adobe markers that disagree', read, () => jpeg.blank({ ...small, channels: 4 }, jpeg.adobe(0), jpeg.adobe(2))],
  ['quantisation of 16 bits', either, () => jpeg.blank(small, jpeg.quantisation(0x10))],
  ['quantisation table 9', refused, () => jpeg.blank(small, jpeg.quantisation(9))],
  [
    'a Huffman table with more codes than there are',
    refused,
    () => jpeg.blank(small, jpeg.segment(0xc4, Buffer.from([0, ...Array(16).fill(255), 0]))),
  ],
  [
    'a Huffman table of 17 symbols of one bit, then a right one',
    either,
    () => jpeg.blank(small, jpeg.segment(0xc4, Buffer.from([0, 17, ...Array(15).fill(0), ...Array(17).fill(0)]))),
  ],
  ['width 0', refused, () => jpeg.blank({ ...small, width: 0 })],
  ['height 0', refused, () => jpeg.blank({ ...small, height: 0 })],
  [
    'height 0, and a DNL that says it',
    refused,
    () => beforeEnd(jpeg.blank({ ...small, height: 0 }), Buffer.from('ffdc00040030', 'hex')),
  ],
  ['a DNL that says another height', either, () => beforeEnd(jpeg.blank(small), Buffer.from('ffdc0004ffff', 'hex'))],
  ...[0x00, 0x50, 0xff, 0x01].map(
    (factor): Row => [`sampling ${factor.toString(16)}`, refused, () => jpeg.blank({ ...small, sampling: [factor] })],
  ),
  ...[0x41, 0x44, 0x14, 0x31, 0x23].map(
    (factor): Row => [
      `sampling ${factor.toString(16)} and 11`,
      ['read', 'image_corrupt'],
      () => jpeg.blank({ ...small, sampling: [factor] }),
    ],
  ),
  [
    'colour with more samples than brightness',
    ['read', 'image_corrupt'],
    () => jpeg.blank({ ...small, sampling: [0x11, 0x44, 0x22] }),
  ],
  [
    'no tables',
    refused,
    () => Buffer.concat([jpeg.SOI, jpeg.frame(small), jpeg.scan([1, 2, 3]), Buffer.alloc(99), jpeg.EOI]),
  ],
  [
    'a scan of channels that are not there',
    refused,
    () => replaced(jpeg.blank(small), jpeg.scan([1, 2, 3]), jpeg.scan([1, 2, 9])),
  ],
  [
    'a scan of one channel twice',
    refused,
    () => replaced(jpeg.blank(small), jpeg.scan([1, 2, 3]), jpeg.scan([1, 1, 1])),
  ],
  [
    'progressive, no scan',
    ['image_truncated', 'image_corrupt'],
    () => jpeg.blankProgressive(small, 0).subarray(0, -20),
  ],
  ['progressive, averages only', read, () => jpeg.blankProgressive(small, 0)],
  [
    'progressive, no averages',
    either,
    () => replaced(jpeg.blankProgressive(small, 3), jpeg.scan([1, 2, 3], 0, 0), jpeg.scan([1], 1, 5)),
  ],
  [
    'progressive, one channel has no scan',
    either,
    () => replaced(jpeg.blankProgressive(small, 0), jpeg.scan([1, 2, 3], 0, 0), jpeg.scan([1, 2], 0, 0)),
  ],
  [
    'progressive, a scan that ends before it begins',
    refused,
    () => replaced(jpeg.blankProgressive(small, 0), jpeg.scan([1, 2, 3], 0, 0), jpeg.scan([1], 9, 5)),
  ],
  [
    'progressive, a scan refined by 13 bits',
    refused,
    () => replaced(jpeg.blankProgressive(small, 0), jpeg.scan([1, 2, 3], 0, 0), jpeg.scan([1, 2, 3], 0, 0, 0xfe)),
  ],
  ['the end at once', refused, () => Buffer.concat([jpeg.SOI, jpeg.EOI])],
  ['a second beginning in its pixels', refused, () => behindScan(jpeg.SOI)],
  ['a marker that nobody knows', refused, () => jpeg.blank(small, Buffer.of(0xff, 0x02))],
  ['a marker of length 0', either, () => jpeg.blank(small, Buffer.from('ffe00000', 'hex'))],
]);

const oddPngs = rows('odd PNG', [
  ...(
    [
      [0, 0],
      [3, 0],
      [16, 3],
      [4, 2],
      [1, 6],
      [255, 0],
      [8, 1],
      [8, 5],
      [8, 7],
    ] as const
  ).map(
    ([depth, colour]): Row => [
      `depth ${depth}, colour type ${colour}`,
      refused,
      () => png(pngs.header({ ...small, depth, colour }), pngs.pixels(small, 99_999)),
    ],
  ),
  ['compression 1', refused, () => pngs.blank({ ...small, compression: 1 })],
  ['filter method 1', refused, () => pngs.blank({ ...small, filter: 1 })],
  ['interlace 2', refused, () => pngs.blank({ ...small, interlace: 2 })],
  ['width 0', refused, () => pngs.blank({ ...small, width: 0 })],
  ['height 0', refused, () => pngs.blank({ ...small, height: 0 })],
  ['no palette', refused, () => png(pngs.header({ ...small, colour: 3 }), pngs.pixels(small))],
  [
    'a palette of 257',
    refused,
    () => png(pngs.header({ ...small, colour: 3 }), pngChunk('PLTE', Buffer.alloc(257 * 3)), pngs.pixels(small)),
  ],
  ['two palettes', either, () => pngs.blank({ ...small, colour: 3 }, pngChunk('PLTE', Buffer.alloc(9)))],
  ['an empty palette', refused, () => png(pngs.header({ ...small, colour: 3 }), pngChunk('PLTE'), pngs.pixels(small))],
  ['transparency of 300', read, () => pngs.blank({ ...small, colour: 3 }, pngChunk('tRNS', Buffer.alloc(300)))],
  ['no pixels', ['image_truncated', 'image_corrupt'], () => png(pngs.header(small))],
  ['pixels that inflate to nothing', refused, () => png(pngs.header(small), pngs.pixels(small, 0))],
  ['half of its pixels', refused, () => png(pngs.header(small), pngs.pixels(small, 1500))],
  ['pixels that are no zlib stream', refused, () => png(pngs.header(small), pngChunk('IDAT', noise(500)))],
  [
    'a zlib stream that asks for a dictionary',
    refused,
    () =>
      png(
        pngs.header(small),
        pngChunk('IDAT', Buffer.concat([Buffer.from('78bb00000001', 'hex'), zeroStream(3120).subarray(2)])),
      ),
  ],
  [
    'a filter that is none',
    refused,
    () =>
      png(
        pngs.header({ width: 100, height: 100 }),
        pngChunk(
          'IDAT',
          Buffer.concat([Buffer.from('7801015050af af'.replace(' ', ''), 'hex'), Buffer.alloc(0x5050, 9)]),
        ),
      ),
  ],
  [
    'a chunk of 4,294,967,295 bytes',
    ['image_truncated'],
    () => Buffer.concat([png(pngs.header(small)).subarray(0, 33), Buffer.from('fffffffftEXt', 'latin1')]),
  ],
  [
    'a chunk whose length is 2^31',
    ['image_truncated'],
    () =>
      Buffer.concat([
        png(pngs.header(small)).subarray(0, 33),
        Buffer.from('\x80\0\0\0IDAT', 'latin1'),
        zeroStream(3120),
      ]),
  ],
  ['an unknown chunk that is needed', refused, () => pngs.blank(small, pngChunk('ABCD'))],
  [
    "Apple's CgBI before its header",
    refused,
    () => png(pngChunk('CgBI', Buffer.alloc(4)), pngs.header(small), pngs.pixels(small)),
  ],
  ['two headers', refused, () => pngs.blank(small, pngs.header(largest))],
  [
    'the end first',
    ['image_truncated', 'image_corrupt'],
    () => png(pngs.header(small), pngChunk('IEND'), pngs.pixels(small)),
  ],
]);

const oddWebps = rows('odd WebP', [
  ['a version that is none', refused, () => webps.webp(webps.losslessChunk(8, 8, 5))],
  ['no picture', either, () => webps.webp(webps.canvasChunk(64, 48), webps.riffChunk('????', noise(40)))],
  [
    'a chunk of 4,294,967,295 bytes',
    either,
    () => webps.webp(webps.canvasChunk(64, 48), webps.riffChunk('VP8L', noise(40), 2 ** 32 - 1)),
  ],
  [
    'a file length of 4,294,967,295',
    ['image_truncated', 'image_corrupt', 'read'],
    () => {
      const bytes = webps.webp(webps.losslessChunk(8, 8));
      bytes.writeUInt32LE(2 ** 32 - 1, 4);
      return bytes;
    },
  ],
  [
    'a file length of 0',
    either,
    () => {
      const bytes = webps.webp(webps.losslessChunk(8, 8));
      bytes.writeUInt32LE(0, 4);
      return bytes;
    },
  ],
  [
    'lossy pixels of noise',
    either,
    () => {
      const bytes = Buffer.from(picture('chelsea_lossy.webp'));
      noise(bytes.length - 60).copy(bytes, 60);
      return bytes;
    },
  ],
  [
    'lossless pixels of noise',
    either,
    () => {
      const bytes = Buffer.from(picture('chelsea_lossless.webp'));
      noise(bytes.length - 30).copy(bytes, 30);
      return bytes;
    },
  ],
  [
    'lossy of width 0',
    refused,
    () => {
      const bytes = Buffer.from(picture('chelsea_lossy.webp'));
      bytes.writeUInt16LE(0, 26);
      return bytes;
    },
  ],
  ['an animation without a frame', either, () => webps.webp(webps.canvasChunk(64, 48, 2), webps.animationChunk())],
  [
    'an animation whose frame is in a frame',
    either,
    () =>
      webps.webp(
        webps.canvasChunk(64, 48, 2),
        webps.animationChunk(),
        webps.frameChunk(64, 48, webps.frameChunk(64, 48, webps.losslessChunk(64, 48))),
      ),
  ],
  [
    'an animation whose frame lies outside',
    refused,
    () =>
      webps.webp(
        webps.canvasChunk(64, 48, 2),
        webps.animationChunk(),
        webps.frameChunk(8, 8, webps.losslessChunk(8, 8), 9000, 9000),
      ),
  ],
  [
    'an animation that is not said to be one',
    either,
    () =>
      webps.webp(
        webps.canvasChunk(64, 48),
        webps.animationChunk(),
        webps.frameChunk(64, 48, webps.losslessChunk(64, 48)),
      ),
  ],
]);

const photo = () => picture('chelsea_baseline.jpg');

const polyglots = rows('polyglots', [
  [
    'JPEG with a ZIP behind it',
    read,
    () => Buffer.concat([photo(), Buffer.from('PK\x05\x06'.padEnd(22, '\0'), 'latin1')]),
  ],
  [
    'JPEG with an HTML page in a comment',
    read,
    () =>
      Buffer.concat([
        photo().subarray(0, 2),
        jpeg.segment(0xfe, Buffer.from('<script>alert(1)</script>')),
        photo().subarray(2),
      ]),
  ],
  [
    'PNG with an HTML page behind it',
    read,
    () => Buffer.concat([pngs.blank(small), Buffer.from('<html><script>alert(1)</script></html>')]),
  ],
  [
    'PNG with a PDF behind it',
    read,
    () => Buffer.concat([pngs.blank({ width: 99, height: 99 }), Buffer.from('%PDF-1.7\n')]),
  ],
  ['PDF with a JPEG in it', ['format_not_allowed'], () => Buffer.concat([Buffer.from('%PDF-1.7\n'), photo()])],
  [
    'GIF header with a PNG behind it',
    ['format_not_allowed'],
    () => Buffer.concat([Buffer.from('GIF89a'), pngs.blank(small)]),
  ],
  [
    'JPEG header with a PNG behind it',
    ['image_corrupt', 'image_truncated'],
    () => Buffer.concat([jpeg.SOI, Buffer.of(0xff), pngs.blank(small)]),
  ],
  [
    'PNG signature with a JPEG behind it',
    ['image_corrupt', 'image_truncated'],
    () => Buffer.concat([pngs.blank(small).subarray(0, 8), photo()]),
  ],
  [
    'PNG signature with SVG behind it',
    ['image_corrupt', 'image_truncated'],
    () => Buffer.concat([pngs.blank(small).subarray(0, 8), Buffer.from(svg)]),
  ],
  [
    'WebP whose payload is SVG',
    ['image_corrupt', 'image_truncated', 'image_too_many_pixels'],
    () => webps.webp(webps.riffChunk('VP8 ', Buffer.from(svg))),
  ],
  [
    'JPEG with its thumbnail larger than itself',
    read,
    () =>
      Buffer.concat([
        photo().subarray(0, 2),
        jpeg.segment(0xe0, Buffer.from('JFIF\0\x01\x02\0\0\x01\0\x01\xff\xff', 'latin1')),
        photo().subarray(2),
      ]),
  ],
]);

const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>';

/** Formats that libvips, or the ImageMagick that it can be built with, would read; the first bytes of each. */
const strangers = rows('other formats', [
  ['SVG', ['format_not_allowed'], () => Buffer.from(svg)],
  [
    'SVG behind an XML declaration and a million spaces',
    ['format_not_allowed', 'not_an_image'],
    () => Buffer.from(`<?xml version="1.0"?>${' '.repeat(1e6)}${svg}`),
  ],
  [
    'XML with a billion laughs',
    ['format_not_allowed', 'not_an_image'],
    () =>
      Buffer.from(
        `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "ha">${Array.from({ length: 9 }, (_, at) => `<!ENTITY b${at} "${'&a;'.repeat(10)}">`).join('')}]><svg>&b8;</svg>`,
      ),
  ],
  ...(
    [
      ['GIF', 'GIF89a\x01\0\x01\0\0\0\0'],
      ['TIFF', 'II*\0\x08\0\0\0'],
      ['BigTIFF', 'MM\0+\0\x08\0\0'],
      ['BMP', 'BM\x3a\0\0\0\0\0\0\0\x36\0\0\0'],
      ['ICO', '\0\0\x01\0\x01\0'],
      ['AVIF', '\0\0\0\x20ftypavif\0\0\0\0'],
      ['HEIC', '\0\0\0\x20ftypheic\0\0\0\0'],
      ['PDF', '%PDF-1.7\n'],
      ['PSD', '8BPS\0\x01'],
      ['JPEG 2000', '\0\0\0\x0cjP  \r\n\x87\n'],
      ['JPEG XL', '\xff\x0a\0\0'],
    ] as const
  ).map(
    ([name, bytes]): Row => [name, ['format_not_allowed'], () => Buffer.from(`${bytes}${'\0'.repeat(64)}`, 'latin1')],
  ),
  ...(
    [
      ['PPM', 'P6\n9 9\n255\n'],
      ['PFM', 'PF\n9 9\n-1.0\n'],
      ['FITS', 'SIMPLE  =                    T'],
      ['Radiance', '#?RADIANCE\n'],
      ['OpenEXR', '\x76\x2f\x31\x01'],
      ['VIPS', '\xb6\xa6\xf2\x08'],
      ['Matlab', 'MATLAB 5.0 MAT-file'],
      ['CSV', '1,2,3\n4,5,6\n'],
      ['MVG of ImageMagick', 'push graphic-context\nimage over 0,0 0,0 "|id"\npop graphic-context\n'],
      ['MSL of ImageMagick', '<?xml version="1.0"?><image><read filename="/etc/passwd"/></image>'],
      ['PostScript', '%!PS-Adobe-3.0\n'],
      ['HTML', '<!doctype html><title>Log in</title>'],
      ['ELF', '\x7fELF\x02\x01\x01'],
      ['ZIP', 'PK\x03\x04'],
      ['one byte', '\xff'],
      ['two bytes of a JPEG', '\xff\xd8'],
    ] as const
  ).map(([name, bytes]): Row => [name, ['not_an_image', 'image_truncated'], () => Buffer.from(bytes, 'latin1')]),
]);

const whole = {
  JPEG: 'chelsea_baseline.jpg',
  'progressive JPEG': 'chelsea_progressive.jpg',
  PNG: 'chelsea_rgb.png',
  'lossy WebP': 'chelsea_lossy.webp',
  'lossless WebP': 'chelsea_lossless.webp',
};

/** At every hundredth of each file. */
const cuts = Object.entries(whole).flatMap(([format, file]) =>
  rows(
    'cut off',
    Array.from({ length: 99 }, (_, at): Row => {
      const share = at + 1;
      return [
        `${format}, at ${share} %`,
        ['image_truncated'],
        () => {
          const bytes = picture(file);
          return bytes.subarray(0, Math.floor((bytes.length * share) / 100));
        },
      ];
    }),
  ),
);

const flippable = [
  ...Object.values(whole).map((file) => `images/${file}`),
  'images/chelsea_cmyk.jpg',
  'images/chelsea_palette.png',
  'images/chelsea_alpha.webp',
  'kinds/arithmetic.jpg',
  'kinds/restarts.jpg',
  'kinds/interlaced.png',
  'kinds/rgba-16.png',
  'kinds/animated.webp',
  'kinds/exif-6.jpg',
  'kinds/icc.png',
];

/** Of one file after another; a third of them in its first 200 bytes, where its structure is. */
export function flips(count: number): HostilePicture[] {
  return rows(
    'flipped bits',
    Array.from({ length: count }, (_, seed): Row => {
      const file = flippable[seed % flippable.length] ?? '';
      return [
        `${file}, seed ${seed}`,
        [
          'read',
          'not_an_image',
          'format_not_allowed',
          'image_truncated',
          'image_corrupt',
          'image_too_many_pixels',
          'image_extreme_aspect',
        ],
        () => flipped(fixture(file), seed),
      ];
    }),
  );
}

/** Every case but the heaviest, and the flips, of which there are as many as one likes. */
export const hostilePictures: readonly HostilePicture[] = [
  ...bombs,
  ...metadata,
  ...oddJpegs,
  ...oddPngs,
  ...oddWebps,
  ...polyglots,
  ...strangers,
  ...cuts,
];

function flipped(bytes: Buffer, seed: number): Buffer {
  const next = randomNumbers(seed);
  for (let left = 1 + (next() % 8); left > 0; left--) {
    const at = next() % (next() % 3 === 0 ? Math.min(200, bytes.length) : bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (next() % 8));
  }
  return bytes;
}

/** The short side of a picture of as many pixels that is as long as it may be. */
function thin({ width, height }: jpeg.Frame): number {
  return Math.floor(Math.sqrt((width * height) / 1000));
}

function repeat(count: number, bytes: Buffer): Buffer[] {
  return Array.from({ length: count }, () => bytes);
}

function replaced(bytes: Buffer, old: Buffer, by: Buffer): Buffer {
  const at = bytes.indexOf(old);
  if (at < 0) throw new Error('The bytes to be replaced are not there.');
  return Buffer.concat([bytes.subarray(0, at), by, bytes.subarray(at + old.length)]);
}

function beforeEnd(bytes: Buffer, more: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, -2), more, bytes.subarray(-2)]);
}

function behindScan(bytes: Uint8Array): Buffer {
  return beforeEnd(jpeg.blank(small, jpeg.segment(0xdd, Buffer.of(0, 1))), bytes);
}

function noisePixels(length: number): Buffer {
  return noise(length).map((byte) => (byte === 0xff ? 0 : byte)) as Buffer;
}

function noisy(code: number, shape: jpeg.Frame = { width: 3000, height: 3000 }): Buffer {
  return beforeEnd(replaced(jpeg.blank({ ...shape, code }), jpeg.EOI, jpeg.EOI), noisePixels(18e6));
}

/** Of 18 MB. */
function noisyProgressive(shape: jpeg.Frame, scanCount: number): Buffer {
  const data = noisePixels(Math.floor(18e6 / scanCount));
  const scans = Array.from({ length: scanCount - 1 }, (_, at) => [jpeg.scan([1 + (at % 3)], 1, 63), data]).flat();
  return Buffer.concat([
    jpeg.SOI,
    jpeg.quantisation(),
    jpeg.frame({ ...shape, code: 0xca }),
    jpeg.scan([1, 2, 3], 0, 0),
    ...scans,
    jpeg.EOI,
  ]);
}

/** Not interleaved, so that any channel may come again. */
function repeatedScans(count: number): Buffer {
  return beforeEnd(
    replaced(jpeg.blank(small), jpeg.scan([1, 2, 3]), jpeg.scan([1])),
    Buffer.alloc(count * 20, Buffer.concat([jpeg.scan([1]), Buffer.alloc(10)])),
  );
}

function iccSegments(count: number, claimed = count): Buffer[] {
  const name = Buffer.from('ICC_PROFILE\0');
  return Array.from({ length: count }, (_, at) =>
    jpeg.segment(0xe2, Buffer.concat([name, Buffer.of(at + 1, claimed), noise(65_000)])),
  );
}

/** A directory whose next one, EXIF, GPS and interoperability all are itself. */
function exifLoop(): Buffer {
  const tag = (id: string) => `${id}\0\x04\0\0\0\x01\0\0\0\x08`;
  return Buffer.from(`MM\0*\0\0\0\x08\0\x03${tag('\x87\x69')}${tag('\x88\x25')}${tag('\xa0\x05')}\0\0\0\x08`, 'latin1');
}

function animatedPng(frames: number, claimed = frames): Buffer {
  const control = Buffer.alloc(26);
  control.writeUInt32BE(64, 4);
  control.writeUInt32BE(48, 8);
  const uint32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const frame = [pngChunk('fcTL', control), pngChunk('fdAT', Buffer.concat([uint32(1), zeroStream(65 * 48)]))];
  const count = pngChunk('acTL', Buffer.concat([uint32(claimed), uint32(0)]));
  return png(pngs.header(small), count, pngs.pixels(small), ...Array.from({ length: frames }, () => frame).flat());
}

function animatedWebp(frames: number, width: number, height: number): Buffer {
  const frame = webps.frameChunk(width, height, webps.losslessChunk(width, height));
  return webps.webp(webps.canvasChunk(width, height, 2), webps.animationChunk(), ...repeat(frames, frame));
}
