import { contiguousStrides, type Dtype, dtypeSizes, type TensorEntry } from '../tensor.js';
import { checkedProduct, checkedSize } from './checked-size.js';
import type { Blame } from './checkpoint-error.js';
import type { CheckpointFile } from './checkpoint-file.js';
import { withoutDataParallel } from './state-dict.js';

const dtypes: Readonly<Record<string, Dtype>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U8: 'uint8',
  BOOL: 'bool',
};
const lengthBytes = 8;
/**
 * The format allows 100 MB, from which JSON.parse makes 930 MB in 5 s. The header of a network of a thousand tensors has
 * some 100 kB.
 */
const largestHeader = 4 << 20;
/** As many as torch allows. */
const mostAxes = 64;
const metadataKey = '__metadata__';

/**
 * A safetensors file: the header's length (uint64), the header (JSON), the data, all little-endian. The checks are those
 * of huggingface/safetensors' tensor.rs, `read_metadata` and `validate`: the tensors lie in the file one after another,
 * without overlaps or holes, up to its last byte. The order of the index is the header's.
 */
export async function readSafetensors(file: CheckpointFile): Promise<TensorEntry[]> {
  const { blame } = file;
  const headerBytes = (await file.read(0, lengthBytes)).readBigUInt64LE();
  if (headerBytes > largestHeader) throw blame('header_too_large', `The header claims ${headerBytes} bytes.`);
  const header = parseHeader(await file.read(lengthBytes, Number(headerBytes)), blame);
  const dataOffset = lengthBytes + Number(headerBytes);
  const entries = header.map(([name, value]) => indexTensor(name, value, dataOffset, blame));
  refuseGapsAndOverlaps(entries, dataOffset, file);
  return withoutDataParallel(entries);
}

function parseHeader(bytes: Buffer, blame: Blame): [name: string, value: unknown][] {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (error) {
    throw blame('header_malformed', `The header is not JSON (${error instanceof Error ? error.message : error}).`);
  }
  const rows = Object.entries(header as object);
  const fields = rows.reduce((sum, [, value]) => sum + (isObject(value) ? Object.keys(value).length : 0), 0);
  const written = countKeys(text);
  if (written.names !== rows.length || written.fields !== fields)
    throw blame('header_malformed', 'A name is in the header twice.');
  const metadata = rows.find(([name]) => name === metadataKey)?.[1];
  if (metadata !== undefined && !isRecord(metadata, (value) => typeof value === 'string'))
    throw blame('header_malformed', `${metadataKey} is not an object of strings.`);
  return rows.filter(([name]) => name !== metadataKey);
}

/**
 * The keys that are written in the object and in the objects in it: of two equal ones JSON.parse drops the first, where
 * another reader may drop the second.
 * @param text sound JSON, so that each colon outside of a string belongs to a key
 */
function countKeys(text: string): { names: number; fields: number } {
  const counts = { names: 0, fields: 0 };
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (isInString) {
      if (character === '\\') at++;
      else isInString = character !== '"';
    } else if (character === '"') isInString = true;
    else if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    else if (character === ':' && depth === 1) counts.names++;
    else if (character === ':' && depth === 2) counts.fields++;
  }
  return counts;
}

function indexTensor(name: string, value: unknown, dataOffset: number, blame: Blame): TensorEntry {
  if (!isRow(value)) throw blame('header_malformed', `${name} has no dtype, shape or data_offsets of the right form.`);
  const dtype = Object.hasOwn(dtypes, value.dtype) ? dtypes[value.dtype] : undefined;
  if (!dtype) throw blame('unsupported_dtype', `${name} has the dtype ${value.dtype}.`);
  const shape = value.shape.map((extent) => checkedSize(extent, `A size of ${name}`, blame));
  const [begin, end] = value.data_offsets.map((offset) => checkedSize(offset, `An offset of ${name}`, blame));
  const byteLength = checkedProduct([...shape, dtypeSizes[dtype]], `The bytes of ${name}`, blame);
  if (begin === undefined || end === undefined || end - begin !== byteLength)
    throw blame('size_mismatch', `${name} needs ${byteLength} bytes, its data_offsets are ${begin} and ${end}.`);
  return { name, dtype, shape, strides: contiguousStrides(shape), byteOffset: dataOffset + begin, byteLength };
}

function refuseGapsAndOverlaps(entries: readonly TensorEntry[], dataOffset: number, file: CheckpointFile): void {
  let end = dataOffset;
  const inFile = entries.toSorted((a, b) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);
  for (const { name, byteOffset, byteLength } of inFile) {
    if (byteOffset < end) throw file.blame('ranges_overlap', `${name} begins ${end - byteOffset} bytes too early.`);
    if (byteOffset > end) throw file.blame('ranges_gap', `${byteOffset - end} bytes before ${name} are of no tensor.`);
    end = byteOffset + byteLength;
  }
  if (end > file.byteLength)
    throw file.blame('truncated', `The last tensor ends at byte ${end}, the file at ${file.byteLength}.`);
  if (end < file.byteLength)
    throw file.blame('bytes_left_over', `${file.byteLength - end} bytes follow the last tensor.`);
}

interface Row {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly number[];
}

function isRow(value: unknown): value is Row {
  if (!isRecord(value, () => true)) return false;
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !isIntegers(shape) || !isIntegers(offsets)) return false;
  return shape.length <= mostAxes && offsets.length === 2;
}

function isIntegers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isInteger(item));
}

function isRecord(value: unknown, isValue: (value: unknown) => boolean): value is Record<string, unknown> {
  return isObject(value) && Object.values(value).every(isValue);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
