import { readFileSync } from 'node:fs';

/** What a shared library or an object file says of itself. 64 bits, little endian. */
export interface Elf {
  /** Libraries that the loader has to find. */
  readonly needed: readonly string[];
  /** Folders in which it would look for them first: DT_RPATH and DT_RUNPATH. */
  readonly searched: readonly string[];
  /** Of the libraries' symbols: `GLIBC_2.14`. */
  readonly versions: readonly string[];
  /** Seen from outside of the file: the dynamic ones of a library, all of an object file. */
  readonly symbols: readonly ElfSymbol[];
}

export interface ElfSymbol {
  readonly name: string;
  readonly isDefined: boolean;
  /** A linker takes one of several, whichever comes first. */
  readonly isWeak: boolean;
}

/** By `elf(5)`. Section types: SHT_SYMTAB, SHT_DYNAMIC, SHT_DYNSYM, SHT_GNU_verneed. */
const types = { symbols: 2, dynamic: 6, dynamicSymbols: 11, versions: 0x6ffffffe } as const;

/** @throws Error for a file of another kind */
export function readElf(path: string): Elf {
  const bytes = readFileSync(path);
  const u32 = (at: number) => bytes.readUInt32LE(at);
  const u64 = (at: number) => Number(bytes.readBigUInt64LE(at));
  if (u32(0) !== 0x464c457f || bytes[4] !== 2 || bytes[5] !== 1) throw new Error(`${path} is no ELF file of 64 bits.`);

  const sections = Array.from({ length: bytes.readUInt16LE(0x3c) }, (_, index) => {
    const at = u64(0x28) + index * bytes.readUInt16LE(0x3a);
    return { type: u32(at + 4), from: u64(at + 0x18), size: u64(at + 0x20), link: u32(at + 0x28) };
  });
  const ofType = (type: number) => sections.filter((section) => section.type === type);
  const text = (section: number, offset: number) => {
    const at = (sections[section]?.from ?? Number.NaN) + offset;
    return bytes.toString('latin1', at, bytes.indexOf(0, at));
  };
  const entries = ({ from, size }: (typeof sections)[number], each: number) =>
    Array.from({ length: size / each }, (_, index) => from + index * each);

  const dynamic = ofType(types.dynamic).flatMap((section) =>
    entries(section, 16).map((at) => ({ tag: u64(at), value: u64(at + 8), section })),
  );
  const textsOf = (...tags: number[]) =>
    dynamic.filter(({ tag }) => tags.includes(tag)).map(({ value, section }) => text(section.link, value));

  const versions: string[] = [];
  for (const { from, link } of ofType(types.versions)) {
    for (let file = from, next = 1; next !== 0; file += next) {
      next = u32(file + 12);
      for (let version = file + u32(file + 8), step = 1; step !== 0; version += step) {
        step = u32(version + 12);
        versions.push(text(link, u32(version + 8)));
      }
    }
  }

  const tables = dynamic.length > 0 ? ofType(types.dynamicSymbols) : ofType(types.symbols);
  const symbols = tables.flatMap((table) =>
    entries(table, 24)
      .map((at) => ({
        name: text(table.link, u32(at)),
        binding: (bytes[at + 4] ?? 0) >> 4,
        isDefined: bytes.readUInt16LE(at + 6) !== 0,
      }))
      .filter(({ binding }) => binding !== 0)
      .map(({ name, binding, isDefined }) => ({ name, isDefined, isWeak: binding === 2 })),
  );
  return { needed: textsOf(1), searched: textsOf(15, 29), versions, symbols };
}
