import type { ByteRange, CheckpointFile } from './checkpoint-file.js';

/** One record of a zip file's central directory. */
export interface ZipEntry {
  readonly name: string;
  readonly flags: number;
  readonly method: number;
  readonly byteLength: number;
  readonly localHeaderOffset: number;
}

export interface ZipDirectory {
  /** In the directory's order. Names are unique. */
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** Where the directory starts, and so the last place where an entry may end. */
  readonly byteOffset: number;
}

// Field offsets below are those of PKWARE's APPNOTE.TXT, sections 4.3.7 to 4.3.16.
const signatures = {
  localHeader: 0x04034b50,
  centralHeader: 0x02014b50,
  end: 0x06054b50,
  zip64End: 0x06064b50,
  zip64Locator: 0x07064b50,
};
const endBytes = 22;
const zip64EndBytes = 56;
const zip64LocatorBytes = 20;
const localHeaderBytes = 30;
const centralHeaderBytes = 46;
const largestComment = 0xffff;
const largestDirectory = 16 << 20;
/** In a 32-bit field: the true value is in the zip64 extra field. */
const inZip64 = 0xffff_ffff;
const stored = 0;
const encryptedFlag = 1;
/** The local header has sizes of 0; the true ones follow the data. */
const sizesFollowFlag = 8;

/** Reads the tail and the central directory. Throws CheckpointError `truncated`, `zip_corrupt` or `overflow`. */
export async function readZipDirectory(file: CheckpointFile): Promise<ZipDirectory> {
  const { count, byteOffset, byteLength, limit } = await readEnd(file);
  // Where something lies between the two, another reader may find another directory.
  if (byteOffset + byteLength !== limit || byteLength > largestDirectory)
    throw file.blame(
      'zip_corrupt',
      `The central directory claims ${byteLength} bytes at ${byteOffset}; it must end at ${limit}.`,
    );
  const bytes = await file.read(byteOffset, byteLength);
  const entries = new Map<string, ZipEntry>();
  for (let at = 0; at < bytes.length; ) {
    const { entry, next } = readCentralHeader(file, bytes, at);
    if (!isInFolder(entry.name))
      throw file.blame('zip_corrupt', `The entry ${JSON.stringify(entry.name)} would lie outside of its folder.`);
    if (entries.has(entry.name)) throw file.blame('zip_corrupt', `The entry ${entry.name} is there twice.`);
    entries.set(entry.name, entry);
    at = next;
  }
  if (entries.size !== count)
    throw file.blame('zip_corrupt', `The directory has ${entries.size} entries, its end record counts ${count}.`);
  return { entries, byteOffset };
}

/** Nothing is unpacked here; but a file with a name that leaves the folder was made to do harm. */
function isInFolder(name: string): boolean {
  return name !== '' && !/[\0\\]|^[a-z]:/i.test(name) && !name.startsWith('/') && !name.split('/').includes('..');
}

/**
 * Where an entry's data lie, by its local header (its extra field may differ from the directory's: torch pads it).
 * Throws CheckpointError `zip_entry_compressed`, `zip_entry_encrypted`, `zip_corrupt` or `out_of_range`.
 */
export async function locateEntry(file: CheckpointFile, directory: ZipDirectory, entry: ZipEntry): Promise<ByteRange> {
  if (entry.flags & encryptedFlag) throw file.blame('zip_entry_encrypted', `The entry ${entry.name} is encrypted.`);
  if (entry.method !== stored)
    throw file.blame('zip_entry_compressed', `The entry ${entry.name} is compressed (method ${entry.method}).`);
  const nameBytes = Buffer.byteLength(entry.name);
  if (entry.localHeaderOffset + localHeaderBytes + nameBytes > directory.byteOffset) throw outOfRange(file, entry);
  const header = await file.read(entry.localHeaderOffset, localHeaderBytes + nameBytes);
  const sameName = header.readUInt16LE(26) === nameBytes && header.toString('utf8', localHeaderBytes) === entry.name;
  if (header.readUInt32LE(0) !== signatures.localHeader || !sameName)
    throw file.blame('zip_corrupt', `The entry ${entry.name} has no header of its own at ${entry.localHeaderOffset}.`);
  const byteOffset = entry.localHeaderOffset + header.length + header.readUInt16LE(28);
  if (byteOffset + entry.byteLength > directory.byteOffset) throw outOfRange(file, entry);
  checkLocalHeader(file, header, entry);
  return { byteOffset, byteLength: entry.byteLength };
}

/** A reader that goes by the local header must find what one finds that goes by the directory. */
function checkLocalHeader(file: CheckpointFile, header: Buffer, entry: ZipEntry): void {
  const flags = header.readUInt16LE(6);
  if (flags & encryptedFlag) throw file.blame('zip_entry_encrypted', `The entry ${entry.name} is encrypted.`);
  const isSize = (size: number) =>
    size === entry.byteLength || size === inZip64 || (size === 0 && (flags & sizesFollowFlag) !== 0);
  if (header.readUInt16LE(8) !== entry.method || !isSize(header.readUInt32LE(18)) || !isSize(header.readUInt32LE(22)))
    throw file.blame('zip_corrupt', `The header of the entry ${entry.name} and the directory differ.`);
}

interface End extends ByteRange {
  readonly count: number;
  /** The directory ends here. */
  readonly limit: number;
}

async function readEnd(file: CheckpointFile): Promise<End> {
  const tailBytes = Math.min(file.byteLength, zip64LocatorBytes + endBytes + largestComment);
  const tail = await file.read(file.byteLength - tailBytes, tailBytes);
  const at = findEnd(tail);
  if (at === undefined) throw file.blame('truncated', 'The zip file has no end record.');
  const locatorAt = at - zip64LocatorBytes;
  if (locatorAt >= 0 && tail.readUInt32LE(locatorAt) === signatures.zip64Locator)
    return readZip64End(file, readUint64(file, tail, locatorAt + 8));
  const end = {
    count: tail.readUInt16LE(at + 10),
    byteLength: tail.readUInt32LE(at + 12),
    byteOffset: tail.readUInt32LE(at + 16),
    limit: file.byteLength - tailBytes + at,
  };
  if (end.byteOffset === inZip64)
    throw file.blame('zip_corrupt', 'The end record points to a zip64 one that is missing.');
  return end;
}

function findEnd(tail: Buffer): number | undefined {
  for (let at = tail.length - endBytes; at >= 0; at--) {
    const commentBytes = tail.length - at - endBytes;
    if (tail.readUInt32LE(at) === signatures.end && tail.readUInt16LE(at + 20) === commentBytes) return at;
  }
  return undefined;
}

async function readZip64End(file: CheckpointFile, at: number): Promise<End> {
  const end = await file.read(at, zip64EndBytes);
  if (end.readUInt32LE(0) !== signatures.zip64End)
    throw file.blame('zip_corrupt', `There is no zip64 end record at ${at}.`);
  return {
    count: readUint64(file, end, 32),
    byteLength: readUint64(file, end, 40),
    byteOffset: readUint64(file, end, 48),
    limit: at,
  };
}

function readCentralHeader(file: CheckpointFile, bytes: Buffer, at: number): { entry: ZipEntry; next: number } {
  if (at + centralHeaderBytes > bytes.length || bytes.readUInt32LE(at) !== signatures.centralHeader)
    throw file.blame('zip_corrupt', `There is no entry at byte ${at} of the central directory.`);
  const nameAt = at + centralHeaderBytes;
  const extraAt = nameAt + bytes.readUInt16LE(at + 28);
  const commentAt = extraAt + bytes.readUInt16LE(at + 30);
  const next = commentAt + bytes.readUInt16LE(at + 32);
  if (next > bytes.length) throw file.blame('zip_corrupt', 'The last entry leaves the central directory.');
  const name = bytes.toString('utf8', nameAt, extraAt);
  const [byteLength, compressedLength, localHeaderOffset] = widen(file, bytes.subarray(extraAt, commentAt), [
    bytes.readUInt32LE(at + 24),
    bytes.readUInt32LE(at + 20),
    bytes.readUInt32LE(at + 42),
  ]);
  const method = bytes.readUInt16LE(at + 10);
  if (method === stored && byteLength !== compressedLength)
    throw file.blame('zip_corrupt', `The entry ${name} is stored, but its two sizes differ.`);
  return { entry: { name, flags: bytes.readUInt16LE(at + 8), method, byteLength, localHeaderOffset }, next };
}

type Sizes = [byteLength: number, compressedLength: number, localHeaderOffset: number];

/** The zip64 extra field (id 1) holds, in this order, only those of the three that do not fit in 32 bits. */
function widen(file: CheckpointFile, extra: Buffer, sizes: Sizes): Sizes {
  if (!sizes.includes(inZip64)) return sizes;
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    const field = extra.subarray(at + 4, at + 4 + extra.readUInt16LE(at + 2));
    let fieldAt = 0;
    const wide = (size: number): number => {
      if (size !== inZip64) return size;
      if (fieldAt + 8 > field.length) throw file.blame('zip_corrupt', 'A zip64 extra field is too short.');
      fieldAt += 8;
      return readUint64(file, field, fieldAt - 8);
    };
    return [wide(sizes[0]), wide(sizes[1]), wide(sizes[2])];
  }
  throw file.blame('zip_corrupt', 'A zip64 extra field is missing.');
}

function readUint64(file: CheckpointFile, bytes: Buffer, at: number): number {
  const value = bytes.readBigUInt64LE(at);
  if (value > Number.MAX_SAFE_INTEGER) throw file.blame('overflow', `The zip index holds the number ${value}.`);
  return Number(value);
}

function outOfRange(file: CheckpointFile, entry: ZipEntry) {
  return file.blame('out_of_range', `The entry ${entry.name} (${entry.byteLength} bytes) leaves the part for entries.`);
}
