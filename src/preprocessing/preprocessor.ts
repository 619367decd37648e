import { ServiceError } from '../errors.js';
import { type CropJob, makeCrop } from './crop.js';
import type { Preset } from './geometry.js';
import { readHeader } from './header.js';
import { checkBytes, checkSize, type ImageLimits } from './limits.js';
import { WorkerPool } from './pool.js';
import { clientClosed, shuttingDown } from './refusals.js';

export interface PreprocessorOptions {
  /** Worker threads for the pictures that are not small, at least 1. */
  readonly threads: number;
  readonly limits: ImageLimits;
  /** Turn and mirror a picture as its EXIF says, before anything else. torchvision does not. */
  readonly exifOrientation: boolean;
  /**
   * Pictures that may be in progress or wait at a time; more are refused with `queue_full`.
   * @default Infinity
   */
  readonly maxPending?: number;
}

export interface Preprocessor {
  /**
   * Bytes of a file to what torchvision's `ImageClassification` preset makes of it before it normalises: docs/images.md.
   * `bytes` must not change until the promise settles.
   *
   * @param signal rejects with `client_closed_request`
   * @returns [crop, crop, 3], RGB
   * @throws ServiceError `empty_body`, `not_an_image`, `format_not_allowed`, `image_truncated`, `image_corrupt`,
   *   `image_too_many_bytes`, `image_too_many_pixels`, `image_extreme_aspect`, `queue_full`, `client_closed_request`,
   *   `shutting_down`
   */
  preprocess(bytes: Uint8Array, preset: Preset, signal?: AbortSignal): Promise<Uint8Array>;
  /** Refuses new pictures and those that wait; resolves when those in progress are done and the threads have ended. */
  close(): Promise<void>;
}

/**
 * Up to here a picture is not worth the way into a thread and back. On 2 CPUs with 8 pictures in flight
 * (bench/preprocessing.ts): a 28 x 28 PNG for a crop of 32 is read 2,700 times a second here and 1,750 times in the
 * threads; a 120 x 120 PNG for a crop of 224 as often either way, but here the event loop stands still for up to 19 ms
 * instead of 4; a 640 x 427 JPEG likewise, 46 ms instead of 5.
 */
const inlineBytes = 32_768;
const inlinePixels = 32_768;
/**
 * Up to here a picture that has the service to itself is not worth it either: the way takes 0.9 ms of 7 for a
 * 640 x 427 JPEG (bench/overhead.ts), and the resample holds up the event loop for 2 ms while there is no one to wait.
 */
const inlineAlonePixels = 524_288;

export function createPreprocessor(options: PreprocessorOptions): Preprocessor {
  const { threads, limits, exifOrientation, maxPending = Infinity } = options;
  const pool = new WorkerPool<CropJob>(new URL('./worker.js', import.meta.url), threads);
  const pending = new Set<Promise<Uint8Array>>();
  let closed = false;

  async function preprocess(bytes: Uint8Array, preset: Preset, signal?: AbortSignal): Promise<Uint8Array> {
    if (closed) throw shuttingDown();
    if (signal?.aborted) throw clientClosed();
    if (pending.size >= maxPending) throw queueFull(pending.size);
    checkBytes(bytes, limits);
    const header = readHeader(bytes);
    checkSize(header, limits);
    const job: CropJob = { bytes, header, preset, exifOrientation };
    const isInline = isSmall(job) || (pending.size === 0 && pixelsOf(job) <= inlineAlonePixels);
    const making = isInline ? makeCrop(job) : pool.run(job, signal);
    pending.add(making);
    try {
      const crop = await making;
      if (signal?.aborted) throw clientClosed();
      return crop;
    } finally {
      pending.delete(making);
    }
  }
  return {
    preprocess,
    close: async () => {
      closed = true;
      await pool.close();
      await Promise.allSettled(pending);
    },
  };
}

function isSmall(job: CropJob): boolean {
  return job.bytes.length <= inlineBytes && pixelsOf(job) <= inlinePixels;
}

/** Those that are read and those that are written: what the resample costs. */
function pixelsOf({ header, preset }: CropJob): number {
  return header.width * header.height + preset.crop ** 2;
}

function queueFull(pending: number): ServiceError {
  return new ServiceError('queue_full', `${pending} pictures wait to be read, and no more may. Try again in 1 s.`, {
    retryAfterSeconds: 1,
  });
}
