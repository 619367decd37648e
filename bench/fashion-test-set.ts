/**
 * Writes Fashion-MNIST's 10,000 test pictures as PNG files, a folder per class named by its index.
 *
 *     npm run build && node dist/bench/fashion-test-set.js DIR && node dist/src/cli.js eval DIR
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import sharp from 'sharp';
import { availableCpus } from '../src/cpus.js';

const side = 28;
const fixtures = new URL('../../test/fixtures/fashion-mnist/', import.meta.url);

/** Files are called as training/answers.py calls them: `class/number.png`, numbered in the order of the data set. */
export async function writeTestPictures(dir: string): Promise<void> {
  // IDX files: 16 bytes of header before the pixels [10000, 28, 28], 8 before the labels [10000].
  const pixels = (await unzipped('t10k-images-idx3-ubyte.gz')).subarray(16);
  const labels = (await unzipped('t10k-labels-idx1-ubyte.gz')).subarray(8);
  for (const label of new Set(labels)) await mkdir(join(dir, String(label)), { recursive: true });

  const numbers = labels.keys();
  const write = async () => {
    for (const number of numbers) {
      const picture = pixels.subarray(number * side ** 2, (number + 1) * side ** 2);
      const png = await sharp(picture, { raw: { width: side, height: side, channels: 1 } })
        .png()
        .toBuffer();
      await writeFile(join(dir, String(labels[number]), `${String(number).padStart(5, '0')}.png`), png);
    }
  };
  // The writers share one iterator: each takes the next picture when it is done with its last one.
  await Promise.all(Array.from({ length: 2 * availableCpus() }, write));
}

async function unzipped(file: string): Promise<Buffer> {
  return gunzipSync(await readFile(new URL(file, fixtures)));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [dir] = process.argv.slice(2);
  if (dir === undefined) throw new RangeError('usage: node fashion-test-set.js DIR');
  await writeTestPictures(dir);
}
