import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canMeasure } from './memory.js';
import { flips, hostilePictures } from './pictures.js';
import { type ServedPictures, servePictures } from './serve-pictures.js';

// The pictures of the largest size are left to `npm run hostile`.
const pictures = [...hostilePictures, ...flips(400)];
let result: ServedPictures | undefined;

test('hostile pictures through the real app: each is read or refused by name', async () => {
  assert.ok(pictures.length > 1000);
  result = await servePictures(pictures);
  const wrong = result.served.filter(({ isExpected, status }) => !isExpected || (status !== 200 && status >= 500));
  assert.deepEqual(wrong, []);
});

test('hostile pictures through the real app: none takes 5 s of the processor', () => {
  assert.deepEqual(
    result?.served.filter(({ cpuMs }) => cpuMs > 5000),
    [],
  );
});

test('hostile pictures through the real app: afterwards it holds no more memory than 15 % above what it held', (t) => {
  if (!canMeasure) return t.skip('Only Linux says what a process holds.');
  assert.ok(result);
  const { residentBefore, residentAfter } = result;
  assert.ok(residentAfter <= 1.15 * residentBefore, `${residentBefore} bytes before, ${residentAfter} after`);
});
