/** A chunk with its length, padded to an even one. */
export function riffChunk(type: string, data: Uint8Array, claimedBytes = data.length): Buffer {
  const head = Buffer.alloc(8);
  head.write(type, 'latin1');
  head.writeUInt32LE(claimedBytes, 4);
  return Buffer.concat([head, data, Buffer.alloc(data.length & 1)]);
}

export function webp(...parts: readonly Uint8Array[]): Buffer {
  return riffChunk('RIFF', Buffer.concat([Buffer.from('WEBP'), ...parts]));
}

/** A lossless picture of one colour: each code has one symbol, so that the pixels take no bits, however many there are. */
export function losslessChunk(width: number, height: number, version = 0): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(((width - 1) | ((height - 1) << 14) | (1 << 28) | (version << 29)) >>> 0);
  // Of the bits behind the size: no transform, no colour cache, no meta prefix, then five codes of one symbol each.
  return riffChunk(
    'VP8L',
    Buffer.concat([Buffer.of(0x2f), size, Buffer.from('07508154082000 0a9a02c68888fe07'.replace(' ', ''), 'hex')]),
  );
}

/** 0x02 animation, 0x04 XMP, 0x08 EXIF, 0x10 alpha, 0x20 ICC */
export function canvasChunk(width: number, height: number, flags = 0): Buffer {
  const data = Buffer.alloc(10);
  data[0] = flags;
  data.writeUIntLE(width - 1, 4, 3);
  data.writeUIntLE(height - 1, 7, 3);
  return riffChunk('VP8X', data);
}

export function animationChunk(): Buffer {
  return riffChunk('ANIM', Buffer.alloc(6));
}

/** One frame of an animation, in the upper left corner unless `x` and `y` say otherwise (in pixels, even). */
export function frameChunk(width: number, height: number, picture: Uint8Array, x = 0, y = 0): Buffer {
  const head = Buffer.alloc(16);
  head.writeUIntLE(x / 2, 0, 3);
  head.writeUIntLE(y / 2, 3, 3);
  head.writeUIntLE(width - 1, 6, 3);
  head.writeUIntLE(height - 1, 9, 3);
  return riffChunk('ANMF', Buffer.concat([head, picture]));
}

/** Bytes of EXIF: the orientation and nothing else. */
export function exif(orientation: number): Buffer {
  return Buffer.from(
    `MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0${String.fromCharCode(orientation)}\0\0\0\0\0\0`,
    'latin1',
  );
}
