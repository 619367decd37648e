import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Config, UsageError } from '../config.js';
import { resolveModel } from '../model-registry/resolve.js';
import { createPreprocessor } from '../preprocessing/preprocessor.js';
import { inOrder } from './in-order.js';
import { pictureFailure, readPicture, reportFailure } from './picture.js';

/** Writes the crop of each file and prints its hash. Answers the exit code: 1 if any file was not done. */
export async function preprocess(config: Config<'preprocess'>): Promise<number> {
  const { transforms } = await resolveModel(config.model[0] as string);
  const preset = { resize: config.resize ?? transforms.resize, crop: config.crop ?? transforms.crop };
  const targets = targetsOf(config.operands, `${preset.resize}-${preset.crop}.u8`);
  await mkdir(config.out, { recursive: true });

  const concurrency = 2 * config.preprocessThreads;
  const preprocessor = createPreprocessor({
    threads: config.preprocessThreads,
    limits: { maxBytes: config.maxPictureBytes, maxPixels: config.maxPixels, maxAspect: config.maxAspect },
    exifOrientation: config.exifOrientation,
    maxPending: concurrency,
  });
  const crops = inOrder(targets, concurrency, async ({ file, name }) => {
    try {
      const bytes = await readPicture(file, config.maxPictureBytes);
      return { file, name, crop: await preprocessor.preprocess(bytes, preset) };
    } catch (error) {
      return { file, error: pictureFailure(error) };
    }
  });

  let failures = 0;
  try {
    for await (const outcome of crops) {
      if (outcome.error !== undefined) {
        failures++;
        reportFailure(outcome.file, outcome.error);
        process.stdout.write(`error:${outcome.error.code}  ${outcome.file}\n`);
        continue;
      }
      await writeFile(join(config.out, outcome.name), outcome.crop);
      process.stdout.write(`${createHash('sha256').update(outcome.crop).digest('hex')}  ${outcome.file}\n`);
    }
  } finally {
    await preprocessor.close();
  }
  return failures > 0 ? 1 : 0;
}

/** The name that each file's crop gets. Throws UsageError when two files would be written to one. */
function targetsOf(files: readonly string[], suffix: string): { file: string; name: string }[] {
  const fileOf = new Map<string, string>();
  return files.map((file) => {
    const name = `${basename(file)}.${suffix}`;
    const other = fileOf.get(name);
    if (other !== undefined)
      throw new UsageError(
        `${other} and ${file} would both be written to ${name}: do one of them in a call of its own, with another --out`,
      );
    fileOf.set(name, file);
    return { file, name };
  });
}
