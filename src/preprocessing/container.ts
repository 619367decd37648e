import type { Format } from './formats.js';

/** What a file says of its picture before the pixels begin. */
export interface Header {
  readonly format: Format;
  readonly width: number;
  readonly height: number;
  /** Four ink channels, of a JPEG. Every other picture decodes to RGB. */
  readonly cmyk: boolean;
  readonly cost: DecodeCost;
}

/** What libvips holds at most while it decodes, in bytes for each pixel: measured, and written down in docs/images.md. */
export interface DecodeCost {
  readonly upright: number;
  /** When the picture is turned as its EXIF says. */
  readonly turned: number;
}

/** Whether all of the picture is there, by the file's own structure alone. */
export type Ending = 'whole' | 'cut' | 'corrupt';
