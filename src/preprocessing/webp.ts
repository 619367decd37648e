import type { Ending, Header } from './container.js';
import { latin1 } from './formats.js';
import { corrupt } from './refusals.js';

/**
 * https://developers.google.com/speed/webp/docs/riff_container, and its two bitstreams.
 * @returns undefined when the bytes end first
 */
export function readWebpHeader(bytes: Uint8Array): Header | undefined {
  if (bytes.length < 30) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunk = latin1(bytes, 12, 16);
  switch (chunk) {
    case 'VP8 ': // Behind the frame tag and the start code: two 14-bit numbers, two bits of scaling with each.
      return header(view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff);
    case 'VP8L': {
      // Behind the signature: two 14-bit numbers, each one less than the size.
      const bits = view.getUint32(21, true);
      return header((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1);
    }
    case 'VP8X': // The canvas of an extended file: two 24-bit numbers, each one less than the size.
      return header((view.getUint32(24, true) & 0xffffff) + 1, (view.getUint32(26, true) >>> 8) + 1);
    default:
      throw corrupt('WebP', `its first chunk is ${JSON.stringify(chunk)}`);
  }
}

/** Cut, where there are fewer bytes than the file says it has. */
export function webpEnding(bytes: Uint8Array): Ending {
  return bytes.length < 8 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true) ? 'cut' : 'whole';
}

/** The decoder's picture and that of libvips, of four bytes a pixel each. */
const cost = { upright: 8, turned: 9 };

function header(width: number, height: number): Header {
  return { format: 'WebP', width, height, cmyk: false, cost };
}
