import { ServiceError } from '../errors.js';
import { notAllowed } from './refusals.js';

export type Format = 'JPEG' | 'PNG' | 'WebP';

/** The first bytes, one character a byte; `?` is any byte. The first row that matches names the format. */
const signatures = [
  { format: 'JPEG', magic: '\xff\xd8\xff' },
  { format: 'PNG', magic: '\x89PNG\r\n\x1a\n' },
  { format: 'WebP', magic: 'RIFF????WEBP' },
  { format: 'GIF', magic: 'GIF8' },
  { format: 'TIFF', magic: 'II*\0' },
  { format: 'TIFF', magic: 'MM\0*' },
  { format: 'TIFF', magic: 'II+\0' },
  { format: 'TIFF', magic: 'MM\0+' },
  { format: 'BMP', magic: 'BM????\0\0\0\0' },
  { format: 'ICO', magic: '\0\0\x01\0' },
  { format: 'AVIF', magic: '????ftypavi' },
  { format: 'HEIC', magic: '????ftyphe' },
  { format: 'HEIC', magic: '????ftypmif1' },
  { format: 'HEIC', magic: '????ftypmsf1' },
  { format: 'JPEG XL', magic: '\xff\x0a' },
  { format: 'JPEG XL', magic: '\0\0\0\x0cJXL \r\n\x87\n' },
  { format: 'JPEG 2000', magic: '\0\0\0\x0cjP  \r\n\x87\n' },
  { format: 'JPEG 2000', magic: '\xff\x4f\xff\x51' },
  { format: 'PDF', magic: '%PDF-' },
  { format: 'PSD', magic: '8BPS' },
] as const;

const allowed = ['JPEG', 'PNG', 'WebP'] as const satisfies Format[];

/**
 * Tells a format by the first bytes; file names and content types are not looked at.
 * @throws ServiceError `format_not_allowed`, `not_an_image`
 */
export function sniff(bytes: Uint8Array): Format {
  const found = signatures.find(({ magic }) => startsWith(bytes, magic))?.format ?? (isSvg(bytes) ? 'SVG' : undefined);
  const format = allowed.find((name) => name === found);
  if (format) return format;
  if (found) throw notAllowed(`This file is in ${found} format.`);
  throw new ServiceError('not_an_image', `No picture starts with the bytes ${shown(bytes)}. Send JPEG, PNG or WebP.`);
}

export function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1', start, end);
}

function startsWith(bytes: Uint8Array, magic: string): boolean {
  for (let i = 0; i < magic.length; i++) {
    if (magic[i] !== '?' && magic.charCodeAt(i) !== bytes[i]) return false;
  }
  return true;
}

/** Text, so it has no magic bytes: an svg element near the start, after nothing but XML. */
function isSvg(bytes: Uint8Array): boolean {
  const start = latin1(bytes, 0, 1024);
  return /^(\xef\xbb\xbf)?\s*<[!?s]/.test(start) && /<svg[\s>]/.test(start);
}

/** `3c 68 74 6d 6c 3e ("<html>")`, of at most eight bytes. */
function shown(bytes: Uint8Array): string {
  const first = bytes.subarray(0, 8);
  const hex = Array.from(first, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  const text = latin1(first, 0, 8);
  return /^[ -~]+$/.test(text) ? `${hex} ("${text}")` : hex;
}
