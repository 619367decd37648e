import { ServiceError } from '../errors.js';
import { type CropJob, makeCrop, makeCropAtOnce } from './crop.js';
import { Gate } from './gate.js';
import type { Preset } from './geometry.js';
import { readHeader } from './header.js';
import { checkBytes, checkSize, decodeBytes, type ImageLimits, mostBytesPerPixel } from './limits.js';
import { nativeResamples } from './native-resample.js';
import { WorkerPool } from './pool.js';
import { clientClosed, shuttingDown } from './refusals.js';

export interface PreprocessorOptions {
  /** Worker threads for large pictures, at least 1; as many that are not large are read at a time. */
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

interface Most {
  readonly bytes: number;
  /** Those that are read and those that are written: what the resample costs. */
  readonly pixels: number;
}

/**
 * Up to here a picture is not worth the way into a worker thread and back: it is decoded on libuv's threads and resampled
 * here, which native code does in 0.4 ms at most. On 2 CPUs with 8 pictures in flight (bench/preprocessing.ts) a 640 x 427
 * JPEG is read about a quarter more often so than in the threads. Of a larger one the resample would hold up the event loop.
 */
const nearby: Most = { bytes: 1_048_576, pixels: 524_288 };
/** The same where the resample is in TypeScript, which takes eight times as long; but a picture that is alone holds no one up. */
const nearbyInTypeScript: Most = { bytes: 32_768, pixels: 32_768 };

/** What was measured is up to 7 % more than what the kind of picture says, for the strips of rows on their way. */
const spare = 1.1;

export function createPreprocessor(options: PreprocessorOptions): Preprocessor {
  const { threads, limits, exifOrientation, maxPending = Infinity } = options;
  const gate = new Gate(threads);
  const pool = new WorkerPool<CropJob>(new URL('./worker.js', import.meta.url), threads, {
    mostBytes: limits.maxPixels * mostBytesPerPixel, // Of one picture, and of all of them together.
    bytesOf: ({ bytes, header }) => bytes.length + spare * decodeBytes(header, exifOrientation),
  });
  const pending = new Set<Promise<Uint8Array>>();
  let closed = false;

  async function preprocess(bytes: Uint8Array, preset: Preset, signal?: AbortSignal): Promise<Uint8Array> {
    if (closed) throw shuttingDown();
    if (signal?.aborted) throw clientClosed();
    if (pending.size >= maxPending) throw queueFull(pending.size);
    checkBytes(bytes, limits);
    const header = readHeader(bytes);
    checkSize(header, limits, exifOrientation);
    const job: CropJob = { bytes, header, preset, exifOrientation };
    const isNearby = fits(job, nativeResamples.size > 0 || pending.size === 0 ? nearby : nearbyInTypeScript);
    const crop = isNearby ? makeCropAtOnce(job) : undefined;
    if (crop) return crop;
    const making = isNearby ? gate.run(() => makeCrop(job), signal) : pool.run(job, signal);
    pending.add(making);
    try {
      const made = await making;
      if (signal?.aborted) throw clientClosed();
      return made;
    } finally {
      pending.delete(making);
    }
  }
  return {
    preprocess,
    close: async () => {
      closed = true;
      gate.close();
      await pool.close();
      await Promise.allSettled(pending);
    },
  };
}

function fits({ bytes, header, preset }: CropJob, most: Most): boolean {
  return bytes.length <= most.bytes && header.width * header.height + preset.crop ** 2 <= most.pixels;
}

function queueFull(pending: number): ServiceError {
  return new ServiceError('queue_full', `${pending} pictures wait to be read, and no more may. Try again in 1 s.`, {
    retryAfterSeconds: 1,
  });
}
