import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import fc from 'fast-check';
import { addonFile } from '../../src/addon-file.js';
import { decode } from '../../src/preprocessing/decode.js';
import { type Axis, cropAxes, type Preset } from '../../src/preprocessing/geometry.js';
import { readHeader } from '../../src/preprocessing/header.js';
import { nativeResamples, trimMemory } from '../../src/preprocessing/native-resample.js';
import { type Picture, resample } from '../../src/preprocessing/resample.js';
import { fixture, picture, referenceRows, sha256, sixteenBitGrey } from './fixtures.js';

/** The same pixels as test/fixtures/make-pictures.py. */
function noise(width: number, height: number): Picture {
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => Math.imul(i, 2654435761) >>> 24);
  return { pixels, width, height };
}

if (nativeResamples.size === 0) {
  console.log('native resample: its addon is not built, so that it is not tested (native/build.mjs says why)');
}

for (const [name, resampleBy] of [['TypeScript', resample] as const, ...nativeResamples]) {
  test(`resample (${name}): torchvision's bytes for 80 geometries`, () => {
    const rows: [number, number, number, number, string][] = JSON.parse(fixture('geometries.json').toString());
    assert.equal(rows.length, 80);
    for (const [width, height, resize, crop, expected] of rows) {
      const actual = sha256(resampleBy(noise(width, height), { resize, crop }));
      assert.equal(actual, expected, `${width} x ${height}, resize ${resize}, crop ${crop}`);
    }
  });

  test(`resample (${name}): torchvision's crop of each reference picture but the one of 16 bits`, async () => {
    for (const { file, resize, crop, crop_sha256 } of referenceRows) {
      if (file === sixteenBitGrey) continue;
      const bytes = picture(file);
      const decoded = await decode(bytes, readHeader(bytes), false);
      assert.equal(sha256(resampleBy(decoded, { resize, crop })), crop_sha256, file);
    }
  });
}

for (const [isa, resampleByIsa] of nativeResamples) {
  test(`resample (${isa}): the bytes of the one in TypeScript, for any size`, () => {
    const side = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 400 }));
    const preset = fc.record({ resize: fc.integer({ min: 1, max: 80 }), crop: fc.integer({ min: 1, max: 100 }) });
    fc.assert(
      fc.property(side, side, preset, fc.integer(), (width, height, preset, seed) => {
        const pixels = noise(width, height).pixels.map((value) => value ^ seed);
        const expected = resample({ pixels, width, height }, preset);
        assert.ok(Buffer.from(resampleByIsa({ pixels, width, height }, preset)).equals(expected));
      }),
      { numRuns: 500 },
    );
  });
}

test('trimMemory can be called at any time, and is no instruction set', () => {
  trimMemory();
  assert.equal(nativeResamples.has('trim'), false);
});

test('native resample: arguments that do not go together are a TypeError', { skip: nativeResamples.size === 0 }, () => {
  const addon = createRequire(import.meta.url)(addonFile('vgg_resample') ?? '') as Record<
    string,
    (...given: readonly unknown[]) => void
  >;
  const { x, y } = cropAxes(9, 6, { resize: 4, crop: 3 });
  const pixels = new Uint8Array(9 * 6 * 3);
  const good: readonly unknown[] = [pixels, x, y, 3, new Uint8Array(27)];
  const wrongAxes: readonly Partial<Record<keyof Axis, unknown>>[] = [
    { source: 8 },
    { source: 0 },
    { source: 2 ** 31 },
    { resized: 0 },
    { resized: 2 ** 40 },
    { start: -1 },
    { start: 0.5 },
    { start: Number.NaN },
    { start: x.resized },
    { count: 0 },
    { count: 4 },
    { offset: 1 },
    { offset: '0' },
  ];
  const wrong: readonly (readonly unknown[])[] = [
    [],
    ...good.map((_, at) => good.with(at, undefined)),
    ...wrongAxes.map((field) => good.with(1, { ...x, ...field })),
    ...wrongAxes.map((field) => good.with(2, { ...y, ...field })),
    good.with(0, new Uint8Array(9 * 6 * 3 - 1)),
    good.with(0, new Uint16Array(9 * 6 * 3)),
    good.with(0, detached(9 * 6 * 3)),
    good.with(4, new Uint8Array(26)),
    good.with(4, new Float32Array(27)),
    good.with(4, pixels.subarray(0, 27)),
    good.with(3, 2 ** 30),
  ];
  const { trim, ...natives } = addon;
  assert.equal(typeof trim, 'function'); // It takes no arguments.
  for (const [isa, native] of Object.entries(natives)) {
    native(...good);
    for (const given of wrong) assert.throws(() => native(...given), TypeError, `${isa} ${JSON.stringify(given)}`);
    const angry = {
      get source() {
        throw new RangeError('No.');
      },
    };
    assert.throws(() => native(...good.with(1, angry)), RangeError);
  }
});

function detached(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  return bytes;
}

test('resample: the window is what the whole picture would show', () => {
  const side = fc.integer({ min: 1, max: 60 });
  const preset = fc.record({ resize: fc.integer({ min: 1, max: 40 }), crop: fc.integer({ min: 1, max: 50 }) });
  fc.assert(
    fc.property(side, side, preset, (width, height, preset) => {
      const picture = noise(width, height);
      assert.deepEqual(resample(picture, preset), resizeThenCrop(picture, preset));
    }),
    { numRuns: 200 },
  );
});

test('resample: one colour stays that colour', () => {
  for (const [width, height] of [
    [1, 1],
    [3, 700],
    [700, 3],
    [640, 427],
  ] as const) {
    const pixels = new Uint8Array(width * height * 3).fill(255);
    const crop = resample({ pixels, width, height }, { resize: 40, crop: 32 });
    assert.ok(crop.every((value) => value === 255));
  }
});

/** torchvision's two steps, one after the other, of every pixel: as slow and as plain as can be. */
function resizeThenCrop({ pixels, width, height }: Picture, { resize, crop }: Preset): Uint8Array {
  const [newWidth, newHeight] =
    width <= height ? [resize, Math.floor((resize * height) / width)] : [Math.floor((resize * width) / height), resize];
  let plane = Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => [...pixels.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)]),
  );
  const acrossRows = () => (plane = plane.map((row) => stretched(row, newWidth)));
  const acrossColumns = () => (plane = transposed(transposed(plane).map((column) => stretched(column, newHeight))));
  const tall = newHeight < height && height - newHeight > 2 * (width - newWidth);
  for (const pass of tall ? [acrossColumns, acrossRows] : [acrossRows, acrossColumns]) pass();

  const padX = Math.max(crop - newWidth, 0);
  const padY = Math.max(crop - newHeight, 0);
  const left = padX > 0 ? -Math.floor(padX / 2) : pythonRound((newWidth - crop) / 2);
  const top = padY > 0 ? -Math.floor(padY / 2) : pythonRound((newHeight - crop) / 2);
  const result = new Uint8Array(crop * crop * 3);
  for (let y = 0; y < crop; y++) {
    for (let x = 0; x < crop; x++) result.set(plane[top + y]?.[left + x] ?? [0, 0, 0], (y * crop + x) * 3);
  }
  return result;
}

function stretched(line: number[][], size: number): number[][] {
  const scale = line.length / size;
  const support = Math.max(scale, 1);
  return Array.from({ length: size }, (_, i) => {
    const center = (i + 0.5) * scale;
    const from = Math.max(Math.trunc(center - support + 0.5), 0);
    const seen = line.slice(from, Math.min(Math.trunc(center + support + 0.5), line.length));
    const weights = seen.map((_, at) => Math.max(1 - Math.abs((at + from - center + 0.5) * (1 / support)), 0));
    const sum = weights.reduce((a, b) => a + b, 0);
    const fixed = weights.map((weight) => BigInt(Math.trunc(0.5 + (weight / sum) * 2 ** 22)));
    return [0, 1, 2].map((channel) => {
      const total = seen.reduce((a, pixel, at) => a + BigInt(pixel[channel] ?? 0) * (fixed[at] ?? 0n), 1n << 21n);
      return Number(total >> 22n);
    });
  });
}

function transposed<T>(rows: T[][]): T[][] {
  return (rows[0] ?? []).map((_, x) => rows.map((row) => row[x] as T));
}

function pythonRound(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}
