/** An entry as it should be; what is given besides name and data makes it wrong or unusual on purpose. */
export interface ZipPart {
  readonly name: string;
  readonly data: Uint8Array;
  readonly method?: number;
  readonly flags?: number;
  /** What the directory says, when it is not the truth. */
  readonly claimedBytes?: number;
  readonly claimedCompressedBytes?: number;
  readonly claimedOffset?: number;
  readonly nameInLocalHeader?: string;
  /** Bytes of padding in the local extra field, as torch aligns its storages. */
  readonly padding?: number;
  /** Sizes and offset only in the zip64 extra field, the 32-bit fields saturated. */
  readonly zip64?: boolean;
  /** Size 0 in the local header; the true one follows the data, as torch writes it. */
  readonly dataDescriptor?: boolean;
}

export interface ZipOptions {
  readonly comment?: string;
  /** With a zip64 end record and its locator, as torch writes it. @default false */
  readonly zip64?: boolean;
  readonly claimedCount?: number;
  readonly claimedDirectoryOffset?: bigint;
}

/** The bytes of a zip file. Checksums are 0: nobody reads them. */
export function zipFile(parts: readonly ZipPart[], options: ZipOptions = {}): Buffer {
  let offset = 0;
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  for (const part of parts) {
    const header = localHeader(part);
    central.push(centralHeader(part, offset));
    const pieces = [header, Buffer.from(part.data), part.dataDescriptor ? Buffer.alloc(16) : Buffer.alloc(0)];
    local.push(...pieces);
    offset += pieces.reduce((sum, bytes) => sum + bytes.length, 0);
  }
  return Buffer.concat([...local, ...central, end(parts.length, offset, Buffer.concat(central).length, options)]);
}

function localHeader({
  name,
  nameInLocalHeader = name,
  data,
  method = 0,
  flags = 0,
  padding,
  dataDescriptor,
}: ZipPart) {
  const extra = padding === undefined ? Buffer.alloc(0) : Buffer.alloc(4 + padding, 'Z');
  if (padding !== undefined) extra.set([0x46, 0x42, ...uint(2, padding)]);
  const size = dataDescriptor ? 0 : data.length;
  return Buffer.concat([
    Buffer.from('PK\x03\x04\0\0'),
    uint(2, flags | (dataDescriptor ? 8 : 0)),
    uint(2, method),
    Buffer.alloc(8),
    uint(4, size),
    uint(4, size),
    uint(2, Buffer.byteLength(nameInLocalHeader)),
    uint(2, extra.length),
    Buffer.from(nameInLocalHeader),
    extra,
  ]);
}

function centralHeader(part: ZipPart, trueOffset: number): Buffer {
  const { name, data, method = 0, flags = 0, zip64 = false } = part;
  const size = part.claimedBytes ?? data.length;
  const compressed = part.claimedCompressedBytes ?? size;
  const offset = part.claimedOffset ?? trueOffset;
  const field = (value: number) => uint(4, zip64 ? 0xffff_ffff : value);
  const wide = [size, compressed, offset].map((value) => uint64(BigInt(value)));
  const extra = zip64 ? Buffer.concat([uint(2, 1), uint(2, 24), ...wide]) : Buffer.alloc(0);
  return Buffer.concat([
    Buffer.from('PK\x01\x02\0\0\0\0'),
    uint(2, flags),
    uint(2, method),
    Buffer.alloc(8),
    field(compressed),
    field(size),
    uint(2, Buffer.byteLength(name)),
    uint(2, extra.length),
    Buffer.alloc(10),
    field(offset),
    Buffer.from(name),
    extra,
  ]);
}

function end(count: number, offset: number, byteLength: number, options: ZipOptions): Buffer {
  const { comment = '', zip64 = false, claimedCount = count, claimedDirectoryOffset = BigInt(offset) } = options;
  const record = [
    Buffer.from('PK\x06\x06'),
    Buffer.alloc(28),
    uint64(BigInt(claimedCount)),
    uint64(BigInt(byteLength)),
    uint64(claimedDirectoryOffset),
  ];
  const locator = [Buffer.from('PK\x06\x07\0\0\0\0'), uint64(BigInt(offset + byteLength)), uint(4, 1)];
  return Buffer.concat([
    ...(zip64 ? [...record, ...locator] : []),
    Buffer.from('PK\x05\x06\0\0\0\0'),
    uint(2, Math.min(claimedCount, 0xffff)),
    uint(2, Math.min(claimedCount, 0xffff)),
    uint(4, byteLength),
    zip64 ? uint(4, 0xffff_ffff) : uint(4, Number(claimedDirectoryOffset)),
    uint(2, comment.length),
    Buffer.from(comment),
  ]);
}

function uint(byteLength: number, value: number): Buffer {
  const bytes = Buffer.alloc(byteLength);
  bytes.writeUIntLE(value, 0, byteLength);
  return bytes;
}

function uint64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}
