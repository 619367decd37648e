import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

/** Real pictures, made before the loaders are blocked: sharp's writers are not. */
const script = (decode: string) => `
  import sharp from 'sharp';
  const colour = { create: { width: 8, height: 8, channels: 3, background: 'red' } };
  const files = {
    gif: await sharp(colour).gif().toBuffer(),
    tiff: await sharp(colour).tiff().toBuffer(),
    avif: await sharp(colour).avif().toBuffer(),
    svg: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'),
    jpeg: await sharp(colour).jpeg().toBuffer(),
    png: await sharp(colour).png().toBuffer(),
    webp: await sharp(colour).webp().toBuffer(),
  };
  ${decode}
  const read = [];
  for (const [format, bytes] of Object.entries(files))
    await sharp(bytes).raw().toBuffer().then(() => read.push(format), () => {});
  console.log(read.join(' '));
`;

async function readBySharp(decode: string): Promise<string> {
  const args = ['--input-type=module', '--eval', script(decode)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: new URL('.', import.meta.url) });
  return stdout.trim();
}

test("libvips' loaders of other formats cannot be reached, not even directly", async () => {
  const decode = new URL('../../src/preprocessing/decode.js', import.meta.url);
  assert.equal(await readBySharp(`await import(${JSON.stringify(decode)});`), 'jpeg png webp');
  assert.equal(await readBySharp(''), 'gif tiff avif svg jpeg png webp', 'without us sharp reads them all');
});
