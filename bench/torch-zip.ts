import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { elementCount } from '../src/tensor.js';
import { pickled } from '../test/weights/pickle-builder.js';
import { stateDict, tensor } from '../test/weights/torch-builder.js';

export interface TorchTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** In C order. Asked for once, when its turn has come. */
  readonly values: () => Float32Array;
}

interface Entry {
  readonly name: Buffer;
  readonly crc: number;
  readonly byteLength: number;
  readonly offset: number;
}

/** Where torch.save begins the data of an entry. */
const alignment = 64;
const localHeaderBytes = 30;

/**
 * A state dict as `torch.save` has written it since version 1.6: a zip of stored entries, less than 4 GB, with one tensor
 * in memory at a time.
 * @param comment of the zip file, at its very end
 */
export async function writeTorchZip(path: string, tensors: readonly TorchTensor[], comment = ''): Promise<void> {
  const file = await open(path, 'w');
  try {
    const entries: Entry[] = [];
    let offset = 0;
    const add = async (name: string, data: Uint8Array) => {
      const entry = { name: Buffer.from(`archive/${name}`), crc: crc32(data), byteLength: data.byteLength, offset };
      offset += await writeAll(file, [localHeader(entry), data]);
      entries.push(entry);
    };
    const rows = tensors.map(({ name, shape }, key) => [name, tensor({ shape, key: String(key) })] as const);
    await add('data.pkl', pickled(stateDict(Object.fromEntries(rows))));
    await add('byteorder', Buffer.from('little'));
    for (const [key, { shape, values }] of tensors.entries()) {
      const { buffer, byteOffset } = values();
      await add(`data/${key}`, new Uint8Array(buffer, byteOffset, 4 * elementCount(shape)));
    }
    await add('version', Buffer.from('3\n'));
    const directory = Buffer.concat(entries.map(directoryHeader));
    await writeAll(file, [directory, directoryEnd(entries.length, directory.length, offset, comment)]);
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, parts: readonly Uint8Array[]): Promise<number> {
  for (const part of parts) await file.writeFile(part);
  return parts.reduce((total, { byteLength }) => total + byteLength, 0);
}

/** PKWARE's APPNOTE 4.3.7, with the extra field that torch pads by. */
function localHeader({ name, crc, byteLength, offset }: Entry): Buffer {
  const unpadded = offset + localHeaderBytes + name.length + 4;
  const padding = (alignment - (unpadded % alignment)) % alignment;
  const header = Buffer.alloc(localHeaderBytes + name.length + 4 + padding, 'Z');
  header.fill(0, 0, localHeaderBytes);
  header.write('PK\x03\x04', 'latin1');
  header.writeUInt32LE(crc, 14);
  header.writeUInt32LE(byteLength, 18);
  header.writeUInt32LE(byteLength, 22);
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(4 + padding, 28);
  name.copy(header, localHeaderBytes);
  header.write('FB', localHeaderBytes + name.length, 'latin1');
  header.writeUInt16LE(padding, localHeaderBytes + name.length + 2);
  return header;
}

/** APPNOTE 4.3.12. */
function directoryHeader({ name, crc, byteLength, offset }: Entry): Buffer {
  const header = Buffer.alloc(46);
  header.write('PK\x01\x02', 'latin1');
  header.writeUInt32LE(crc, 16);
  header.writeUInt32LE(byteLength, 20);
  header.writeUInt32LE(byteLength, 24);
  header.writeUInt16LE(name.length, 28);
  header.writeUInt32LE(offset, 42);
  return Buffer.concat([header, name]);
}

/** APPNOTE 4.3.16. */
function directoryEnd(count: number, byteLength: number, offset: number, comment: string): Buffer {
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(byteLength, 12);
  end.writeUInt32LE(offset, 16);
  end.writeUInt16LE(comment.length, 20);
  return Buffer.concat([end, Buffer.from(comment, 'latin1')]);
}
