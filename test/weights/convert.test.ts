import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, truncateSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { TensorEntry, TensorSource } from '../../src/tensor.js';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { asFloat32 } from '../../src/weights/convert.js';
import { temporaryFolder } from './temporary-files.js';
import { stateDict, type TensorShape, tensor, torchZip } from './torch-builder.js';

const folder = temporaryFolder();
const counting = Float32Array.from({ length: 24 }, (_, at) => at);
let caches = 0;

describe('asFloat32', () => {
  it('leaves float32 in C order where it is', async () => {
    const file = write({
      a: { shape: [2, 3, 4] },
      b: { shape: [3, 1, 4], strides: [4, 77, 1], offset: 12, elements: 24 },
    });
    const { sources, cacheDir } = await convert(file);
    assert.deepEqual(
      sources.map(({ path }) => path),
      [file, file],
    );
    assert.deepEqual(sources.map(valuesOf), [[...counting], [...counting.subarray(12)]]);
    assert.deepEqual(filesIn(cacheDir), []);
  });

  const layouts: Readonly<Record<string, [TensorShape, number[]]>> = {
    transposed: [{ shape: [3, 2], strides: [1, 3], elements: 24 }, [0, 3, 1, 4, 2, 5]],
    'channels_last [1, 2, 2, 3]': [
      { shape: [1, 2, 2, 3], strides: [12, 1, 6, 2], elements: 24 },
      [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11],
    ],
    'every fifth': [{ shape: [4], strides: [5], offset: 2, elements: 24 }, [2, 7, 12, 17]],
    expanded: [{ shape: [2, 3], strides: [0, 1], elements: 24 }, [0, 1, 2, 0, 1, 2]],
    'a column': [{ shape: [3, 1], strides: [7, 1], elements: 24 }, [0, 7, 14]],
  };
  for (const [what, [shape, expected]] of Object.entries(layouts))
    it(`gathers strides: ${what}`, async () => {
      const { sources } = await convert(write({ a: shape }));
      assert.deepEqual(sources.map(valuesOf), [expected]);
      assert.deepEqual(sources[0]?.shape, shape.shape);
    });

  it('widens float16, bfloat16 and float64, and keeps the order of the entries', async () => {
    const file = write(
      {
        half: { shape: [2], type: 'HalfStorage', key: 'h' },
        float: { shape: [24] },
        brain: { shape: [2], type: 'BFloat16Storage', key: 'b' },
        double: { shape: [2], type: 'DoubleStorage', key: 'd' },
      },
      { h: Uint16Array.of(0x3c00, 0xc000), b: Uint16Array.of(0x3f80, 0xc040), d: Float64Array.of(0.5, 1 + 2 ** -30) },
    );
    const { sources } = await convert(file);
    assert.deepEqual(
      sources.map((source) => [source.name, valuesOf(source)]),
      [
        ['half', [1, -2]],
        ['float', [...counting]],
        ['brain', [1, -3]],
        ['double', [0.5, 1]],
      ],
    );
    assert.equal(sources[1]?.path, file);
    assert.equal(sources[0]?.path, sources[3]?.path);
  });

  it('ends at a signal, and leaves no file', async () => {
    const file = write({ a: { shape: [3, 2], strides: [1, 3], elements: 24 } });
    const cacheDir = join(folder.path, 'aborted');
    const checkpoint = await readCheckpoint(file);
    const reason = new Error('unloaded');
    await assert.rejects(asFloat32(checkpoint, checkpoint.tensors, cacheDir, AbortSignal.abort(reason)), reason);
    assert.deepEqual(filesIn(cacheDir), []);
  });

  it('gathers a tensor that takes many windows and blocks, with empty and scalar ones beside it', async () => {
    const [rows, columns] = [3000, 2900];
    // Finite values only: V8 may change the payload of a NaN that it carries from one array to another.
    const big = Uint16Array.from({ length: rows * columns }, (_, at) => at % 32_003);
    const file = write(
      {
        big: { shape: [columns, rows], strides: [1, columns], type: 'BFloat16Storage', key: 'big' },
        empty: { shape: [0, 2], type: 'BFloat16Storage', key: 'big', elements: rows * columns },
        scalar: { shape: [], offset: 7, type: 'BFloat16Storage', key: 'big', elements: rows * columns },
      },
      { big },
    );
    const { sources } = await convert(file);
    const bits = sources.map((source) => upperHalves(source));
    const transposed = Uint16Array.from(big, (_, at) => big[(at % rows) * columns + Math.floor(at / rows)] ?? 0);
    assert(bits[0]?.every((value, at) => value === transposed[at]));
    assert.deepEqual(
      bits.map(({ length }) => length),
      [big.length, 0, 1],
    );
    assert.equal(bits[2]?.[0], 7);
  });

  it('gathers strides that reach far with few elements', async () => {
    const far = 2_000_003;
    const storage = new Float32Array(2 * far + 2);
    storage.set([1, 2], 0);
    storage.set([3, 4], far);
    storage.set([5], 2 * far - 1);
    const shape = { shape: [2, 2, 2], strides: [far, far - 1, 1], elements: storage.length };
    const { sources } = await convert(write({ a: shape }, { 0: storage }));
    assert.deepEqual(sources.map(valuesOf), [[1, 2, 0, 3, 3, 4, 5, 0]]);
  });

  it('converts once: the second call finds the file again', async () => {
    const file = write({ a: { shape: [3, 2], strides: [1, 3], elements: 24 } });
    const first = await convert(file);
    const [name] = filesIn(first.cacheDir);
    const cached = join(first.cacheDir, name ?? '');
    utimesSync(cached, 1, 1);
    const second = await convert(file, first.cacheDir);
    assert.deepEqual(second.sources, first.sources);
    assert.deepEqual(filesIn(first.cacheDir), [name]);
    assert.equal(statSync(cached).mtimeMs, 1000);
    assert.match(name ?? '', /^file-\d+-[0-9a-f]{16}\.safetensors$/);
  });

  it('converts again when the checkpoint was changed', async () => {
    const file = write({ a: { shape: [3, 2], strides: [1, 3], elements: 24 } });
    const first = await convert(file);
    utimesSync(file, 1000, 1000);
    const second = await convert(file, first.cacheDir);
    assert.notEqual(second.sources[0]?.path, first.sources[0]?.path);
    assert.deepEqual(second.sources.map(valuesOf), first.sources.map(valuesOf));
  });

  it('converts again when the cached file is damaged', async () => {
    const file = write({ a: { shape: [3, 2], strides: [1, 3], elements: 24 } });
    const first = await convert(file);
    truncateSync(first.sources[0]?.path ?? '', 30);
    const second = await convert(file, first.cacheDir);
    assert.deepEqual(second.sources.map(valuesOf), [[0, 3, 1, 4, 2, 5]]);
  });

  it('leaves one whole file when several calls and two processes convert at once', async () => {
    const file = write(
      { a: { shape: [512, 1024], strides: [1, 512], key: 'big' } },
      { big: new Float32Array(1 << 19).fill(3) },
    );
    const cacheDir = newCache();
    const children = [1, 2].map(() => fork(childFile, [file, cacheDir]));
    const here = [1, 2, 3].map(() => convert(file, cacheDir));
    assert.deepEqual(await Promise.all(children.map(exitCode)), [0, 0]);
    for (const { sources } of await Promise.all(here))
      assert(new Float32Array(bytesOf(sources[0] as TensorSource)).every((value) => value === 3));
    assert.equal(filesIn(cacheDir).length, 1);
  });

  it('refuses an entry that holds no weights', async () => {
    const file = write({ a: { shape: [2], type: 'LongStorage' } }, { 0: BigInt64Array.of(1n, 2n) });
    await assert.rejects(convert(file), {
      name: 'CheckpointError',
      reason: 'unsupported_dtype',
      message: /a has the dtype int64/,
    });
  });
});

const childFile = fileURLToPath(new URL('./convert-child.js', import.meta.url));

function write(
  tensors: Readonly<Record<string, TensorShape>>,
  storages: Readonly<Record<string, ArrayBufferView>> = {},
): string {
  const dict = stateDict(Object.fromEntries(Object.entries(tensors).map(([name, shape]) => [name, tensor(shape)])));
  const bytes = Object.entries({ 0: counting, ...storages }).map(
    ([key, { buffer, byteOffset, byteLength }]) => [key, new Uint8Array(buffer, byteOffset, byteLength)] as const,
  );
  return folder.write(torchZip(dict, { storages: Object.fromEntries(bytes) }));
}

async function convert(file: string, cacheDir = newCache()) {
  const checkpoint = await readCheckpoint(file);
  const entries: readonly TensorEntry[] = checkpoint.tensors;
  return { sources: await asFloat32(checkpoint, entries, cacheDir), cacheDir };
}

function newCache(): string {
  return join(folder.path, `cache-${caches++}`, 'of', 'vgg-serve');
}

function filesIn(cacheDir: string): string[] {
  try {
    return readdirSync(cacheDir);
  } catch {
    return [];
  }
}

function bytesOf({ path, byteOffset, byteLength }: TensorSource): ArrayBuffer {
  return new Uint8Array(readFileSync(path).subarray(byteOffset, byteOffset + byteLength)).buffer;
}

function valuesOf(source: TensorSource): number[] {
  return [...new Float32Array(bytesOf(source))];
}

/** The bits that a widened bfloat16 had. */
function upperHalves(source: TensorSource): Uint16Array {
  return new Uint16Array(bytesOf(source)).filter((_, at) => at % 2 === 1);
}

async function exitCode(child: ChildProcess): Promise<unknown> {
  const [code] = await once(child, 'exit');
  return code;
}
