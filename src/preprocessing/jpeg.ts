import type { Ending, Header } from './container.js';
import { corrupt, notAllowed } from './refusals.js';

/**
 * Marker codes, ITU-T T.81 table B.1. Of the frames, baseline, extended and progressive are decoded, with Huffman (C0..C2)
 * and with arithmetic coding (C9, CA); lossless and hierarchical ones are not. C4, C8 and CC are no frames.
 */
const SOF = [0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf];
const arithmeticSof = [0xc9, 0xca];
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

/**
 * Each scan goes over the whole picture, and an empty one has 76 bytes: without a bound, 20 MB of them would take 20 minutes.
 * libjpeg writes 10 (18 of CMYK), mozjpeg at most some 25. With arithmetic coding an empty one takes three times as long,
 * and nobody but libjpeg writes any.
 */
const mostScans = 64;
const mostArithmeticScans = 24;

const coefficientBytes = 2;

/** @returns undefined when the bytes end before the frame header does */
export function readJpegHeader(bytes: Uint8Array): Header | undefined {
  let frame: Frame | undefined;
  for (const { code, start } of segments(bytes, mostMarkersBeforePixels)) {
    const isEnd = code === SOS || code === EOI;
    if (frame && isEnd) return headerOf(frame, code === SOS && bytes[start] === frame.sampling.length);
    if (isEnd) throw corrupt('JPEG', 'its pixels come before its size');
    if (frame || !SOF.includes(code)) continue;
    if (start + 6 > bytes.length) return undefined;
    frame = readFrame(bytes, code, start);
  }
  return frame && headerOf(frame, false);
}

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly progressive: boolean;
  /** Of each channel: samples across times samples down, in a block of the picture. */
  readonly sampling: readonly number[];
  /** Of the block: those of a channel that has all of its samples. */
  readonly mostSamples: number;
}

function readFrame(bytes: Uint8Array, code: number, start: number): Frame {
  const view = new DataView(bytes.buffer, bytes.byteOffset + start);
  const bits = view.getUint8(0);
  const channels = view.getUint8(5);
  if (!decodedSof.includes(code)) throw notAllowed('This file is a lossless or hierarchical JPEG.');
  if (bits !== 8) throw notAllowed(`This file is a JPEG with ${bits} bits a sample, not 8.`);
  if (![1, 3, 4].includes(channels)) throw notAllowed(`This file is a JPEG with ${channels} channels, not 1, 3 or 4.`);
  const factors = Array.from({ length: channels }, (_, channel) => bytes[start + 7 + 3 * channel] ?? 0);
  const across = factors.map((factor) => factor >> 4 || 1);
  const down = factors.map((factor) => factor & 15 || 1);
  return {
    width: view.getUint16(3),
    height: view.getUint16(1),
    progressive: progressiveSof.includes(code),
    sampling: across.map((samples, channel) => samples * (down[channel] ?? 1)),
    mostSamples: Math.max(...across) * Math.max(...down),
  };
}

/** @param inOneScan whether all channels come together; of several scans all coefficients are kept up to the last one */
function headerOf({ width, height, progressive, sampling, mostSamples }: Frame, inOneScan: boolean): Header {
  const cmyk = sampling.length === 4;
  const pixel = cmyk ? 4 : 3;
  const samples = sampling.reduce((sum, count) => sum + count, 0) / mostSamples;
  const coefficients = progressive || !inOneScan ? coefficientBytes * samples : 0;
  const cost = { upright: coefficients + pixel, turned: Math.max(coefficients + pixel, 2 * pixel) };
  return { format: 'JPEG', width, height, cmyk, cost };
}

/**
 * What libjpeg finds behind the pixels, where Pillow has it read on and libvips does not. In a file of one scan the first
 * marker ends the pixels, however many are still missing; what is behind it must be markers up to the end of the picture.
 * @throws ServiceError `image_corrupt` of a picture of too many scans
 */
export function jpegEnding(bytes: Uint8Array): Ending {
  let components = 0;
  let progressive = false;
  let restarts = false;
  let scan: 'none' | 'only' | 'first of several' = 'none';
  let pixelsEnd = false;
  let scans = 0;
  let most = mostScans;
  for (const { code, start } of segments(bytes)) {
    if (code === EOI) return 'whole';
    if (code === SOS && ++scans > most) throw corrupt('JPEG', `it has more than ${most} scans`);
    if (scan === 'none') {
      if (SOF.includes(code)) {
        components = bytes[start + 5] ?? 0;
        progressive = progressiveSof.includes(code);
        if (arithmeticSof.includes(code)) most = mostArithmeticScans;
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
    if (seen === most) throw corrupt('JPEG', `more than ${most} markers precede its pixels`);
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
