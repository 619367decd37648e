import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import sharp from 'sharp';
import type { ErrorCode } from '../../src/errors.js';
import {
  createPreprocessor,
  type Preprocessor,
  type PreprocessorOptions,
} from '../../src/preprocessing/preprocessor.js';
import {
  blackPng,
  fixture,
  picture,
  png,
  pngHeader,
  pngPixels,
  referenceRows,
  sha256,
  sixteenBitGrey,
} from './fixtures.js';

const limits = { maxBytes: 1_000_000, maxPixels: 50_000_000, maxAspect: 1000 };
const preset = { resize: 256, crop: 224 };
const smallPreset = { resize: 32, crop: 32 };
/** Too large to be read outside of the threads, however it is resampled. */
const large = picture('hubble_deep_field.jpg');
/** Small, but nothing that is read without libvips. */
const interlaced = fixture('kinds/interlaced-3x2.png');

function start(t: TestContext, options: Partial<PreprocessorOptions> = {}): Preprocessor {
  const preprocessor = createPreprocessor({ threads: 1, limits, exifOrientation: false, ...options });
  t.after(() => preprocessor.close());
  return preprocessor;
}

test("preprocess: torchvision's crop of each reference picture but the one of 16 bits", async (t) => {
  const { preprocess } = start(t);
  for (const { file, resize, crop, crop_sha256 } of referenceRows) {
    if (file === sixteenBitGrey) continue;
    const pixels = await preprocess(picture(file), { resize, crop });
    assert.equal(sha256(pixels), crop_sha256, file);
  }
});

test('preprocess: 16-bit grey is what its high bytes are', async (t) => {
  const { preprocess } = start(t);
  const row = (y: number) => Uint8Array.from({ length: 40 }, (_, x) => (x * 5 + y * 3) % 256);
  const rows = Array.from({ length: 30 }, (_, y) => row(y));
  const withLowByte = rows.map((bytes) => Uint8Array.from([...bytes].flatMap((high) => [high, 0xf7])));
  const deep = await preprocess(png(pngHeader(40, 30, 16), pngPixels(withLowByte)), smallPreset);
  assert.deepEqual(deep, await preprocess(png(pngHeader(40, 30), pngPixels(rows)), smallPreset));
});

test('preprocess: many at a time, in threads and out of them', async (t) => {
  const { preprocess } = start(t, { threads: 2 });
  const rows = [...referenceRows, ...referenceRows].filter(({ file }) =>
    /^chelsea_(2x3|422|grey\.jpg|rgba)/.test(file),
  );
  const crops = await Promise.all(rows.map(({ file }) => preprocess(picture(file), preset)));
  assert.deepEqual(
    crops.map(sha256),
    rows.map(({ crop_sha256 }) => crop_sha256),
  );
  const small = await Promise.all(rows.map(() => preprocess(picture('chelsea_2x3.png'), smallPreset)));
  assert.equal(new Set(small.map(sha256)).size, 1);
});

test('preprocess: a thread that starts leaves alone which loaders libvips may use, in all threads', async (t) => {
  const { preprocess } = start(t);
  sharp.block({ operation: ['VipsForeignLoadPng'] });
  t.after(() => sharp.unblock({ operation: ['VipsForeignLoadPng'] }));
  await preprocess(large, preset);
  await assert.rejects(preprocess(interlaced, smallPreset), { code: 'image_corrupt' });
});

test('preprocess: bytes in the middle of a larger buffer, which the caller keeps', async (t) => {
  const { preprocess } = start(t);
  for (const [file, size] of [
    ['images/hubble_deep_field.jpg', preset],
    ['images/rocket.jpg', preset],
    ['images/chelsea_2x3.png', smallPreset],
  ] as const) {
    const bytes = fixture(file);
    const body = Buffer.concat([Buffer.alloc(100), bytes, Buffer.alloc(100)]);
    const crop = await preprocess(body.subarray(100, 100 + bytes.length), size);
    assert.deepEqual(crop, await preprocess(bytes, size));
    assert.equal(body.length, bytes.length + 200);
  }
});

test('preprocess: exifOrientation turns the picture', async (t) => {
  const [asItIs, turned] = [start(t), start(t, { exifOrientation: true })];
  const upright = await asItIs.preprocess(fixture('kinds/exif-1.jpg'), smallPreset);
  const lying = fixture('kinds/exif-6.jpg');
  assert.deepEqual(await asItIs.preprocess(lying, smallPreset), upright);
  assert.notDeepEqual(await turned.preprocess(lying, smallPreset), upright);
  assert.deepEqual(await turned.preprocess(fixture('kinds/exif-1.jpg'), smallPreset), upright);
});

test('preprocess: each refusal, in threads and out of them', async (t) => {
  const { preprocess } = start(t);
  const refused: [ErrorCode, Uint8Array][] = [
    ['empty_body', new Uint8Array(0)],
    ['not_an_image', Buffer.from('hello')],
    ['format_not_allowed', Buffer.from('GIF89a')],
    ['image_truncated', picture('chelsea_rgb.png').subarray(0, 100_000)],
    ['image_truncated', fixture('kinds/animated.png').subarray(0, 3000)],
    ['image_corrupt', png(pngHeader(300, 300), pngPixels([]))],
    ['image_corrupt', png(pngHeader(30, 30), pngPixels([]))],
    ['image_too_many_bytes', new Uint8Array(limits.maxBytes + 1)],
    ['image_too_many_pixels', png(pngHeader(60_000, 60_000), pngPixels([]))],
    ['image_extreme_aspect', blackPng(1001, 1)],
  ];
  for (const [code, bytes] of refused) await assert.rejects(preprocess(bytes, smallPreset), { code });
  assert.equal((await preprocess(picture('rocket.jpg'), preset)).length, 224 * 224 * 3);
});

test('preprocess: aborted before, while it is being made here, and while a thread has it', async (t) => {
  const { preprocess } = start(t);
  await assert.rejects(preprocess(picture('rocket.jpg'), preset, AbortSignal.abort()), {
    code: 'client_closed_request',
  });
  const controller = new AbortController();
  const here = preprocess(picture('rocket.jpg'), preset, controller.signal);
  const inThread = preprocess(large, preset, controller.signal);
  controller.abort();
  await Promise.all([here, inThread].map((crop) => assert.rejects(crop, { code: 'client_closed_request' })));
});

test('preprocess: one more than maxPending', async (t) => {
  const { preprocess } = start(t, { maxPending: 2 });
  const made = [preprocess(large, preset), preprocess(interlaced, smallPreset)];
  for (const more of [interlaced, blackPng(9, 9)]) {
    await assert.rejects(preprocess(more, smallPreset), {
      code: 'queue_full',
      retryAfterSeconds: 1,
      message: '2 pictures wait to be read, and no more may. Try again in 1 s.',
    });
  }
  await Promise.all(made);
  await assert.rejects(preprocess(Buffer.from('hello'), smallPreset), { code: 'not_an_image' });
  await preprocess(blackPng(9, 9), smallPreset);
});

test('close: what runs is answered, then nothing more is taken', async () => {
  const { preprocess, close } = createPreprocessor({ threads: 1, limits, exifOrientation: false });
  let made = 0;
  const make = (bytes: Uint8Array) => preprocess(bytes, smallPreset);
  const count = (crop: Uint8Array) => (made += crop.length === 32 * 32 * 3 ? 1 : 0);
  const running = [interlaced, large].map((bytes) => make(bytes).then(count));
  const waiting = [interlaced, large].map((bytes) => assert.rejects(make(bytes), { code: 'shutting_down' }));
  await Promise.all([close(), close()]);
  assert.equal(made, 2);
  await Promise.all([...running, ...waiting]);
  await assert.rejects(preprocess(blackPng(9, 9), smallPreset), { code: 'shutting_down' });
});

test('close: forgotten, it does not keep the process alive', async () => {
  const url = (path: string) => JSON.stringify(new URL(path, import.meta.url));
  const program = `
    import { readFileSync } from 'node:fs';
    import { createPreprocessor } from ${url('../../src/preprocessing/preprocessor.js')};
    const preprocessor = createPreprocessor({ threads: 1, limits: ${JSON.stringify(limits)}, exifOrientation: false });
    const bytes = readFileSync(new URL(${url('../../../test/fixtures/images/rocket.jpg')}));
    console.log((await preprocessor.preprocess(bytes, ${JSON.stringify(preset)})).length);`;
  const args = ['--input-type=module', '--eval', program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  assert.equal(stdout, `${224 * 224 * 3}\n`);
});
