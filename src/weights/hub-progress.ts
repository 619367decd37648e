import { inMegabytes } from './hub-error.js';

/** How far a file has come. */
export interface FetchProgress {
  /** The name of the file, without its folder. */
  readonly file: string;
  /** What an earlier call has left counts too. Falls back when a file has to be fetched from its start again. */
  readonly receivedBytes: number;
  /** Undefined until the server tells, and when it does not. */
  readonly totalBytes: number | undefined;
}

export type OnProgress = (progress: FetchProgress) => void;

/** Passes on the first progress, then at most one each `everyMs`, and always the one that completes the file. */
export function throttled(onProgress: OnProgress, everyMs = 100, now = () => performance.now()): OnProgress {
  let passedAt = Number.NEGATIVE_INFINITY;
  return (progress) => {
    if (now() - passedAt < everyMs && progress.receivedBytes !== progress.totalBytes) return;
    passedAt = now();
    onProgress(progress);
  };
}

const bytesPerLine = 50e6;

/**
 * Makes lines of progress for a log: `vgg16-397923af.pth: 10 % (55.4 of 553.4 MB)`, one each time a further tenth of the
 * file is reached; each 50 MB where the size of the whole is not known.
 */
export function everyTenth(log: (line: string) => void): OnProgress {
  let fileBefore: string | undefined;
  let stepBefore = 0;
  return ({ file, receivedBytes, totalBytes }) => {
    const step = Math.floor(totalBytes ? (10 * receivedBytes) / totalBytes : receivedBytes / bytesPerLine);
    const isFurther = step > (file === fileBefore ? stepBefore : 0);
    fileBefore = file;
    stepBefore = step;
    if (!isFurther) return;
    if (!totalBytes) log(`${file}: ${inMegabytes(receivedBytes)}`);
    else {
      const percent = Math.floor((100 * receivedBytes) / totalBytes);
      log(`${file}: ${percent} % (${inMegabytes(receivedBytes)} of ${inMegabytes(totalBytes)})`);
    }
  };
}
