import { isMainThread } from 'node:worker_threads';
import sharp, { type Sharp } from 'sharp';
import type { ServiceError } from '../errors.js';
import { cmykToRgb } from './cmyk.js';
import type { Ending, Header } from './container.js';
import type { Format } from './formats.js';
import { jpegEnding } from './jpeg.js';
import { pngEnding } from './png.js';
import { corrupt, truncated } from './refusals.js';
import type { Picture } from './resample.js';
import { webpEnding } from './webp.js';

const endings = {
  JPEG: jpegEnding,
  PNG: pngEnding,
  WebP: webpEnding,
} satisfies Record<Format, (bytes: Uint8Array) => Ending>;

// These hold for the whole process. A thread that set them again would, between the block and the unblock, refuse the
// pictures that the other threads are reading.
if (isMainThread) {
  // No picture comes twice, and the pictures are what runs in parallel, not the parts of one.
  sharp.cache(false);
  sharp.concurrency(1);
  // The loaders of the formats that we let in are all that can be reached, whatever the bytes make libvips believe.
  sharp.block({ operation: ['VipsForeignLoad'] });
  sharp.unblock({ operation: ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadWebp'] });
}

/**
 * What `Image.open(file).convert('RGB')` of Pillow gives, by libvips: docs/images.md goes through the kinds of pictures.
 * @param exifOrientation turn and mirror the picture as its EXIF says, which Pillow does not
 * @throws ServiceError `image_truncated`, `image_corrupt`
 */
export async function decode(bytes: Uint8Array, header: Header, exifOrientation: boolean): Promise<Picture> {
  const ending = endings[header.format](bytes);
  // Pillow needs the end of a JPEG, and only of a JPEG. libvips stops at the last row of pixels.
  if (header.format === 'JPEG' && ending !== 'whole') throw refusal(bytes, header, ending);
  const input = sharp(bytes, {
    ignoreIcc: true,
    failOn: 'truncated', // As Pillow: missing pixels are refused, wrong ones are not.
    limitInputPixels: header.width * header.height,
  });
  const oriented = exifOrientation ? input.autoOrient() : input;
  try {
    return await (header.cmyk ? decodeCmyk(oriented) : decodeRgb(oriented));
  } catch {
    throw refusal(bytes, header, ending);
  }
}

/** libvips keeps its last operation until the next one, and with it the whole of an interlaced picture. This ends it. */
export function forgetPictures(): void {
  sharp.cache(false);
}

function refusal(bytes: Uint8Array, { format }: Header, ending: Ending): ServiceError {
  return ending === 'cut' ? truncated(format, bytes) : corrupt(format, 'its pixels cannot be decoded');
}

async function decodeRgb(input: Sharp): Promise<Picture> {
  const { data, info } = await input.removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { pixels: data, width: info.width, height: info.height };
}

async function decodeCmyk(input: Sharp): Promise<Picture> {
  const inks = input.pipelineColourspace('cmyk').toColourspace('cmyk').raw();
  const { data, info } = await inks.toBuffer({ resolveWithObject: true });
  return { pixels: cmykToRgb(data), width: info.width, height: info.height };
}
