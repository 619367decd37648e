import type { Ending, Header } from './container.js';
import { corrupt, notAllowed } from './refusals.js';

/**
 * Marker codes, ITU-T T.81 table B.1. Of the frames, baseline, extended and progressive are decoded, with Huffman (C0..C2)
 * and with arithmetic coding (C9, CA); lossless and hierarchical ones are not. C4, C8 and CC are no frames.
 */
const SOF = [0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf];
const decodedSof = [0xc0, 0xc1, 0xc2, 0xc9, 0xca];
const progressiveSof = [0xc2, 0xca];
const TEM = 0x01;
const SOF0 = 0xc0;
const RST0 = 0xd0;
const RST7 = 0xd7;
const EOI = 0xd9;
const SOS = 0xda;
const DNL = 0xdc;
const DRI = 0xdd;
const APP0 = 0xe0;
const APP15 = 0xef;
const COM = 0xfe;

/** Far more than any picture has; a hostile file could have millions. */
const mostMarkersBeforePixels = 10_000;

/** @returns undefined when the bytes end before the frame header does */
export function readJpegHeader(bytes: Uint8Array): Header | undefined {
  for (const { code, start } of segments(bytes, mostMarkersBeforePixels)) {
    if (code === SOS || code === EOI) throw corrupt('JPEG', 'its pixels come before its size');
    if (!SOF.includes(code)) continue;
    if (start + 6 > bytes.length) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset + start);
    const bits = view.getUint8(0);
    const channels = view.getUint8(5);
    if (!decodedSof.includes(code)) throw notAllowed('This file is a lossless or hierarchical JPEG.');
    if (bits !== 8) throw notAllowed(`This file is a JPEG with ${bits} bits a sample, not 8.`);
    if (![1, 3, 4].includes(channels))
      throw notAllowed(`This file is a JPEG with ${channels} channels, not 1, 3 or 4.`);
    return { format: 'JPEG', width: view.getUint16(3), height: view.getUint16(1), cmyk: channels === 4 };
  }
  return undefined;
}

/**
 * What libjpeg finds behind the pixels, where Pillow has it read on and libvips does not. In a file of one scan the first
 * marker ends the pixels, however many are still missing; what is behind it must be markers up to the end of the picture.
 */
export function jpegEnding(bytes: Uint8Array): Ending {
  let components = 0;
  let progressive = false;
  let restarts = false;
  let scan: 'none' | 'only' | 'first of several' = 'none';
  let pixelsEnd = false;
  for (const { code, start } of segments(bytes)) {
    if (code === EOI) return 'whole';
    if (scan === 'none') {
      if (SOF.includes(code)) {
        components = bytes[start + 5] ?? 0;
        progressive = progressiveSof.includes(code);
      } else if (code === DRI) {
        restarts = bytes[start] !== 0 || bytes[start + 1] !== 0;
      } else if (code === SOS) {
        scan = progressive || (bytes[start] ?? 0) < components ? 'first of several' : 'only';
      }
    } else if (scan === 'only') {
      if (restarts && (isRestart(code) || code < SOF0)) continue; // libjpeg looks for the next restart.
      if (!mayFollowScan(code)) return 'corrupt';
      pixelsEnd = true;
    }
  }
  return pixelsEnd ? 'whole' : 'cut';
}

function isRestart(code: number): boolean {
  return code >= RST0 && code <= RST7;
}

/** What may lie between the last scan and the end: TEM, RSTn, APPn, COM and DNL. Garbage looks like any other. */
function mayFollowScan(code: number): boolean {
  return code === TEM || isRestart(code) || (code >= APP0 && code <= APP15) || code === COM || code === DNL;
}

interface Segment {
  readonly code: number;
  /** Of what follows the marker and the length. */
  readonly start: number;
}

/** Every marker, in order, with what lies between them skipped: padding, and the entropy-coded data with its FF 00. */
function* segments(bytes: Uint8Array, most = Infinity): Generator<Segment> {
  let at = 2;
  for (let seen = 0; ; seen++) {
    if (seen === most) throw corrupt('JPEG', `more than ${most} markers precede its size`);
    at = bytes.indexOf(0xff, at);
    if (at < 0) return;
    while (bytes[at] === 0xff) at++;
    const code = bytes[at++];
    if (code === undefined) return;
    if (code === 0) continue;
    if (code < SOF0 || (code >= RST0 && code <= EOI)) {
      yield { code, start: at };
      continue;
    }
    if (at + 2 > bytes.length) return;
    yield { code, start: at + 2 };
    at += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  }
}
