import assert from 'node:assert/strict';
import { it } from 'node:test';
import { everyTenth, throttled } from '../../src/weights/hub-progress.js';

const file = 'vgg16-397923af.pth';

function linesOf(received: readonly number[], totalBytes: number | undefined): string[] {
  const lines: string[] = [];
  const onProgress = everyTenth((line) => void lines.push(line));
  for (const receivedBytes of received) onProgress({ file, receivedBytes, totalBytes });
  return lines;
}

it('everyTenth: one line each tenth of the file', () => {
  const received = Array.from({ length: 101 }, (_, percent) => percent * 5e6);
  const lines = linesOf(received, 500e6);
  assert.equal(lines.length, 10);
  assert.equal(lines[0], `${file}: 10 % (50.0 MB of 500.0 MB)`);
  assert.equal(lines[9], `${file}: 100 % (500.0 MB of 500.0 MB)`);
});

it('everyTenth: begins where the file does, and says no tenth twice', () => {
  assert.deepEqual(linesOf([47e6, 48e6, 51e6, 59e6, 83e6], 100e6), [
    `${file}: 47 % (47.0 MB of 100.0 MB)`,
    `${file}: 51 % (51.0 MB of 100.0 MB)`,
    `${file}: 83 % (83.0 MB of 100.0 MB)`,
  ]);
});

it('everyTenth: counts anew when the file starts from its beginning', () => {
  assert.equal(linesOf([30e6, 0, 20e6, 30e6], 100e6).length, 3);
});

it('everyTenth: counts anew for another file', () => {
  const lines: string[] = [];
  const onProgress = everyTenth((line) => void lines.push(line));
  onProgress({ file: 'a', receivedBytes: 10, totalBytes: 10 });
  onProgress({ file: 'b', receivedBytes: 5, totalBytes: 10 });
  assert.deepEqual(lines, ['a: 100 % (10 bytes of 10 bytes)', 'b: 50 % (5 bytes of 10 bytes)']);
});

it('everyTenth: each 50 MB where the size is not known', () => {
  assert.deepEqual(linesOf([0, 20e6, 60e6, 99e6, 101e6], undefined), [`${file}: 60.0 MB`, `${file}: 101.0 MB`]);
});

it('throttled passes on the first, one each 100 ms, and the last', () => {
  const seen: number[] = [];
  let now = 0;
  const onProgress = throttled(
    ({ receivedBytes }) => void seen.push(receivedBytes),
    100,
    () => now,
  );
  for (; now <= 250; now += 25) onProgress({ file, receivedBytes: now, totalBytes: 260 });
  onProgress({ file, receivedBytes: 260, totalBytes: 260 });
  assert.deepEqual(seen, [0, 100, 200, 260]);
});
