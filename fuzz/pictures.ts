import { crc32, deflateSync } from 'node:zlib';
import { interesting, mutateBytes, mutateList } from './mutate.js';
import type { Random } from './random.js';

type Format = 'JPEG' | 'PNG' | 'WebP';

/** A segment of a JPEG, a chunk of a PNG or of a WebP. */
interface Piece {
  /** The marker's code as one character, or the chunk's type. */
  readonly type: string;
  /** undefined: a marker that has none, nor a length. */
  readonly data: Buffer | undefined;
  /** The entropy-coded bytes behind a JPEG's SOS or restart marker. */
  readonly behind?: Buffer;
  /** The length that is written, where it is not the truth. */
  readonly claimed?: number;
  /** The CRC of a PNG's chunk that is written, where it is not the truth. */
  readonly checksum?: number;
}

const pngSignature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
const standalone = new Set([0x01, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9]);
const frames = new Set([0xc0, 0xc1, 0xc2, 0xc9, 0xca]);

/** 12 MB in 12 kB. */
const bomb = deflateSync(Buffer.alloc(12 << 20));

/** Pieces that a picture may have and few do. */
const foreignPieces: Readonly<Record<Format, readonly Piece[]>> = {
  JPEG: [
    { type: '\xdd', data: Buffer.from([0, 1]) },
    { type: '\xdc', data: Buffer.from([0xff, 0xff]) },
    { type: '\xfe', data: Buffer.alloc(60_000, 'c') },
    { type: '\xe1', data: Buffer.from('Exif\0\0MM\0*\0\0\0\x08\xff\xff', 'latin1') },
    { type: '\xe2', data: Buffer.from('ICC_PROFILE\0\x01\xff', 'latin1') },
    { type: '\xee', data: Buffer.from('Adobe\0\x64\0\0\0\0\x01', 'latin1') },
    { type: '\xcc', data: Buffer.from([0x10, 0x05]) },
    { type: '\xd9', data: undefined },
    { type: '\xd8', data: undefined },
    { type: '\x01', data: undefined },
  ],
  PNG: [
    { type: 'zTXt', data: Buffer.concat([Buffer.from('Comment\0\0'), bomb]) },
    { type: 'iCCP', data: Buffer.concat([Buffer.from('profile\0\0'), bomb]) },
    { type: 'tRNS', data: Buffer.from([0, 1, 2, 3, 4, 5]) },
    { type: 'PLTE', data: Buffer.alloc(768, 7) },
    { type: 'acTL', data: Buffer.from([0, 0, 3, 0xe8, 0, 0, 0, 0]) },
    { type: 'fcTL', data: Buffer.alloc(26) },
    { type: 'gAMA', data: Buffer.alloc(4) },
    { type: 'eXIf', data: Buffer.from('MM\0*\0\0\0\x08\xff\xff', 'latin1') },
    { type: 'IDAT', data: bomb },
    { type: 'IDAT', data: Buffer.alloc(0) },
    { type: 'IEND', data: Buffer.alloc(0) },
  ],
  WebP: [
    { type: 'VP8X', data: Buffer.from([0x3e, 0, 0, 0, 0xff, 0xff, 0, 0xff, 0xff, 0]) },
    { type: 'ANIM', data: Buffer.alloc(6) },
    { type: 'ANMF', data: Buffer.alloc(24) },
    { type: 'ALPH', data: Buffer.from([1, 0, 0]) },
    { type: 'ICCP', data: Buffer.alloc(50_000) },
    { type: 'EXIF', data: Buffer.from('MM\0*\0\0\0\x08\xff\xff', 'latin1') },
    { type: 'XMP ', data: Buffer.alloc(50_000, '<') },
  ],
};

/** A picture in which something is wrong: its pieces first, their lengths and sizes, then now and then its bytes. */
export function mutatePicture(random: Random, picture: Buffer, others: readonly Buffer[]): Buffer {
  const format = formatOf(picture);
  if (format === undefined || random.once(8)) return mutateBytes(random, picture, others);
  let pieces = partsOf(format, picture);
  for (let times = 1 + random.small(3); times > 0; times--) pieces = mutatePieces(random, format, pieces, others);
  const bytes = joined(format, pieces);
  return random.once(4) ? mutateBytes(random, bytes, others) : bytes;
}

function mutatePieces(random: Random, format: Format, pieces: readonly Piece[], others: readonly Buffer[]): Piece[] {
  const at = random.below(pieces.length);
  const piece = pieces[at];
  if (piece === undefined) return [random.pick(foreignPieces[format])];
  const changed = [...pieces];
  switch (random.below(8)) {
    case 0: {
      const other = random.pick(others);
      return mutateList(random, pieces, formatOf(other) === format ? partsOf(format, other) : foreignPieces[format]);
    }
    case 1:
      return mutateList(random, pieces, foreignPieces[format], random.once(20) ? 20_000 : 50);
    case 2:
      changed[at] = { ...piece, claimed: random.pick(interesting) };
      return changed;
    case 3:
      changed[at] = { ...piece, data: mutateBytes(random, piece.data ?? Buffer.alloc(0)) };
      return changed;
    case 4:
      if (piece.behind) changed[at] = { ...piece, behind: mutateBytes(random, piece.behind) };
      else changed[at] = { ...piece, checksum: random.uint32() };
      return changed;
    case 5:
      changed[at] = {
        ...piece,
        type: random.once(2) ? random.pick(pieces).type : random.bytes(piece.type.length).toString('latin1'),
      };
      return changed;
    case 6:
      return withSizes(random, format, pieces);
    default:
      changed[at] = {
        ...piece,
        data: Buffer.concat([piece.data ?? Buffer.alloc(0), random.bytes(random.small(4096))]),
      };
      return changed;
  }
}

/** Other width, height, bits or channels in the header. */
function withSizes(random: Random, format: Format, pieces: readonly Piece[]): Piece[] {
  return pieces.map((piece) => {
    const { type, data } = piece;
    const field = sizeField(random, format, type);
    if (data === undefined || field === undefined || field.at + field.width > data.length) return piece;
    const copy = Buffer.from(data);
    const value = (random.once(3) ? random.pick(interesting) : random.below(300)) % 2 ** (8 * field.width);
    if (format === 'WebP') copy.writeUIntLE(value, field.at, field.width);
    else copy.writeUIntBE(value, field.at, field.width);
    return { ...piece, data: copy };
  });
}

function sizeField(random: Random, format: Format, type: string): { at: number; width: number } | undefined {
  switch (format) {
    case 'JPEG':
      if (!frames.has(type.charCodeAt(0))) return undefined;
      return random.pick([
        { at: 0, width: 1 },
        { at: 1, width: 2 },
        { at: 3, width: 2 },
        { at: 5, width: 1 },
      ]);
    case 'PNG':
      if (type !== 'IHDR') return undefined;
      return random.pick([
        { at: 0, width: 4 },
        { at: 4, width: 4 },
        { at: 8, width: 1 },
        { at: 9, width: 1 },
        { at: 12, width: 1 },
      ]);
    case 'WebP':
      if (type === 'VP8X')
        return random.pick([
          { at: 4, width: 3 },
          { at: 7, width: 3 },
          { at: 0, width: 1 },
        ]);
      if (type === 'VP8 ')
        return random.pick([
          { at: 6, width: 2 },
          { at: 8, width: 2 },
        ]);
      return type === 'VP8L' ? { at: 1, width: 4 } : undefined;
    default:
      return format satisfies never;
  }
}

function formatOf(bytes: Buffer): Format | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return 'JPEG';
  if (bytes.subarray(0, 8).equals(pngSignature)) return 'PNG';
  return bytes.toString('latin1', 8, 12) === 'WEBP' ? 'WebP' : undefined;
}

/** What lies between pieces, or is cut off, is lost. */
function partsOf(format: Format, bytes: Buffer): Piece[] {
  switch (format) {
    case 'JPEG':
      return segmentsOf(bytes);
    case 'PNG':
      return chunksOf(bytes, 8, (at) => ({
        length: bytes.readUInt32BE(at),
        type: bytes.toString('latin1', at + 4, at + 8),
        behind: 4,
      }));
    case 'WebP':
      return chunksOf(bytes, 12, (at) => {
        const length = bytes.readUInt32LE(at + 4);
        return { length, type: bytes.toString('latin1', at, at + 4), behind: length % 2 };
      });
    default:
      return format satisfies never;
  }
}

function chunksOf(
  bytes: Buffer,
  first: number,
  head: (at: number) => { length: number; type: string; behind: number },
): Piece[] {
  const pieces: Piece[] = [];
  for (let at = first; at + 8 <= bytes.length; ) {
    const { length, type, behind } = head(at);
    pieces.push({ type, data: bytes.subarray(at + 8, at + 8 + length) });
    at += 8 + length + behind;
  }
  return pieces;
}

function segmentsOf(bytes: Buffer): Piece[] {
  const pieces: Piece[] = [];
  for (let at = 2; at + 2 <= bytes.length; ) {
    const code = bytes[at + 1] ?? 0;
    const hasData = !standalone.has(code);
    const dataEnd = at + 2 + (hasData && at + 4 <= bytes.length ? bytes.readUInt16BE(at + 2) : 0);
    const next = nextMarker(bytes, Math.max(dataEnd, at + 2));
    const data = hasData ? bytes.subarray(at + 4, dataEnd) : undefined;
    pieces.push({ type: String.fromCharCode(code), data, behind: bytes.subarray(dataEnd, next) });
    at = next;
  }
  return pieces;
}

function nextMarker(bytes: Buffer, from: number): number {
  let at = bytes.indexOf(0xff, from);
  while (at >= 0 && (bytes[at + 1] ?? 0) === 0) at = bytes.indexOf(0xff, at + 2);
  return at < 0 ? bytes.length : at;
}

function joined(format: Format, pieces: readonly Piece[]): Buffer {
  switch (format) {
    case 'JPEG':
      return Buffer.concat([Buffer.from([0xff, 0xd8]), ...pieces.flatMap(segmentBytes)]);
    case 'PNG':
      return Buffer.concat([pngSignature, ...pieces.flatMap(pngChunkBytes)]);
    case 'WebP': {
      const body = Buffer.concat(pieces.flatMap(webpChunkBytes));
      return Buffer.concat([Buffer.from('RIFF'), uint32le(body.length + 4), Buffer.from('WEBP'), body]);
    }
    default:
      return format satisfies never;
  }
}

function segmentBytes({ type, data, behind = Buffer.alloc(0), claimed }: Piece): Buffer[] {
  const marker = Buffer.from([0xff, type.charCodeAt(0)]);
  if (data === undefined) return [marker, behind];
  const length = Buffer.alloc(2);
  length.writeUInt16BE((claimed ?? data.length + 2) & 0xffff);
  return [marker, length, data, behind];
}

function pngChunkBytes({ type, data = Buffer.alloc(0), claimed = data.length, checksum }: Piece): Buffer[] {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  return [uint32be(claimed), typed, uint32be(checksum ?? crc32(typed))];
}

function webpChunkBytes({ type, data = Buffer.alloc(0), claimed = data.length }: Piece): Buffer[] {
  return [Buffer.from(type, 'latin1'), uint32le(claimed), data, Buffer.alloc(data.length % 2)];
}

function uint32be(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

function uint32le(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
