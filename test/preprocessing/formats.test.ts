import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sniff } from '../../src/preprocessing/formats.js';

const bytes = (text: string) => Buffer.from(text, 'latin1');

test('sniff: JPEG, PNG and WebP', () => {
  assert.equal(sniff(bytes('\xff\xd8\xff\xe0')), 'JPEG');
  assert.equal(sniff(bytes('\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR')), 'PNG');
  assert.equal(sniff(bytes('RIFF\x10\x27\0\0WEBPVP8 ')), 'WebP');
});

test('sniff: a format that is not allowed is named', () => {
  const files = {
    GIF: ['GIF89a', 'GIF87a'],
    TIFF: ['II*\0', 'MM\0*', 'II+\0', 'MM\0+'],
    BMP: ['BM\x36\x10\0\0\0\0\0\0'],
    ICO: ['\0\0\x01\0\x01\0'],
    AVIF: ['\0\0\0\x20ftypavif', '\0\0\0\x20ftypavis'],
    HEIC: ['\0\0\0\x20ftypheic', '\0\0\0\x20ftypheix', '\0\0\0\x20ftypmif1', '\0\0\0\x20ftypmsf1'],
    'JPEG XL': ['\xff\x0a\xfa', '\0\0\0\x0cJXL \r\n\x87\n'],
    'JPEG 2000': ['\0\0\0\x0cjP  \r\n\x87\n', '\xff\x4f\xff\x51'],
    PDF: ['%PDF-1.7'],
    PSD: ['8BPS\0\x01'],
    SVG: [
      '<svg xmlns="http://www.w3.org/2000/svg"/>',
      '\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn by hand -->\n<svg>',
      '  <!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"><svg width="1">',
    ],
  };
  for (const [format, starts] of Object.entries(files)) {
    for (const start of starts) {
      assert.throws(() => sniff(bytes(start)), {
        code: 'format_not_allowed',
        message: `This file is in ${format} format. Send JPEG, PNG or WebP: convert it first.`,
      });
    }
  }
});

test('sniff: anything else is shown by its first bytes', () => {
  const others = {
    '<html><body><svg></svg>': '3c 68 74 6d 6c 3e 3c 62 ("<html><b")',
    '{"a"': '7b 22 61 22 ("{"a"")',
    'BMW is no bitmap': '42 4d 57 20 69 73 20 6e ("BMW is n")',
    '<?xml version="1.0"?><html>': '3c 3f 78 6d 6c 20 76 65 ("<?xml ve")',
    'RIFF\x24\0\0\0WAVEfmt ': '52 49 46 46 24 00 00 00',
    '\xff\xd8': 'ff d8',
    '\x89PNG\n': '89 50 4e 47 0a',
    '\0': '00',
  };
  for (const [start, shown] of Object.entries(others)) {
    assert.throws(() => sniff(bytes(start)), {
      code: 'not_an_image',
      message: `No picture starts with the bytes ${shown}. Send JPEG, PNG or WebP.`,
    });
  }
});
