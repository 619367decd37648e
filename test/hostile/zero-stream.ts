import { constants, deflateRawSync } from 'node:zlib';

const pieceBytes = 1 << 20;
const piece = deflateRawSync(Buffer.alloc(pieceBytes), { level: 9, finishFlush: constants.Z_FULL_FLUSH });

/** A zlib stream of so many zeros, at a thousandth of their size: one piece of it again and again. */
export function zeroStream(length: number): Buffer {
  const pieces = Math.floor(length / pieceBytes);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt16BE(length % 65_521, 0); // Adler-32 of zeros: the second sum counts them, the first stays 1.
  checksum.writeUInt16BE(1, 2);
  const rest = deflateRawSync(Buffer.alloc(length % pieceBytes), { level: 9 });
  return Buffer.concat([Buffer.of(0x78, 0x9c), Buffer.alloc(pieces * piece.length, piece), rest, checksum]);
}
