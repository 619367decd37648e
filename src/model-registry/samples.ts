import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import type { Manifest, Transforms } from './manifest.js';
import { embeddedSamples } from './resolve.js';

/** Pictures on which a precision is compared with fp32. */
export interface Samples {
  /** What they are, for people; no path. */
  readonly from: string;
  /** Each [crop, crop, 3], RGB. */
  readonly pictures: readonly Uint8Array[];
  /** Files that could not be read as pictures. */
  readonly skipped: number;
}

export interface SampleReader {
  /** In place of the model's own samples. */
  readonly folder?: string | undefined;
  /** Larger files are skipped unread. */
  readonly maxBytes: number;
  /** What the network sees of a file. Throws for one that is no picture. */
  readonly preprocess: (bytes: Uint8Array, transforms: Transforms, signal: AbortSignal) => Promise<Uint8Array>;
}

/** A folder of sample pictures that cannot be used. The message begins with its path. */
export class SamplesError extends Error {
  override readonly name = 'SamplesError';
}

const mostPictures = 200;
/** All pictures are held while two engines run over them. */
const mostPixelBytes = 64 * 2 ** 20;
/** Of the formats that the service reads. */
const endings = ['.jpg', '.jpeg', '.png', '.webp'];

/**
 * Up to 200 pictures of the folder that is given; without one, those of the folder `samples` beside the model's weights;
 * where there is none, those of the embedded model, which are pictures of another kind, but pictures. Of more than may
 * be taken every n-th is, in the order of their paths.
 * @throws SamplesError for a folder that is given and holds no picture
 */
export async function readSamples(manifest: Manifest, reader: SampleReader, signal: AbortSignal): Promise<Samples> {
  const { from, folder, paths } = await findSamples(manifest, reader.folder);
  const pictureBytes = manifest.transforms.crop ** 2 * 3;
  const taken = everyNth(paths, Math.min(mostPictures, Math.max(1, Math.floor(mostPixelBytes / pictureBytes))));
  const pictures: Uint8Array[] = [];
  for (const path of taken) {
    signal.throwIfAborted();
    const picture = await readSample(join(folder, path), manifest.transforms, reader, signal);
    if (picture !== undefined) pictures.push(picture);
  }
  return { from, pictures, skipped: taken.length - pictures.length };
}

/** @throws SamplesError where there is no such folder, or no picture in it */
export async function checkSampleFolder(folder: string): Promise<void> {
  await picturesOf(folder);
}

async function findSamples(
  { source }: Manifest,
  given: string | undefined,
): Promise<{ from: string; folder: string; paths: readonly string[] }> {
  if (given !== undefined) return { from: basename(resolve(given)), folder: given, paths: await picturesOf(given) };
  if (source.kind === 'file') {
    const folder = join(dirname(source.path), 'samples');
    const paths = await picturesOf(folder).catch(() => []);
    if (paths.length > 0) return { from: "the model's own samples", folder, paths };
  }
  const { model, folder } = embeddedSamples();
  return { from: `the samples of ${model}`, folder, paths: await picturesOf(folder) };
}

/** Paths from the folder, sorted. Names that begin with a dot are passed over. */
async function picturesOf(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    const reason = { ENOENT: 'there is no such folder', ENOTDIR: 'it is no folder' }[error.code ?? ''];
    throw new SamplesError(`${folder}: ${reason ?? error.message}`, { cause: error });
  });
  const pictures = names.filter((name) => endings.includes(extname(name).toLowerCase()) && !/(^|[\\/])\./.test(name));
  if (pictures.length === 0) throw new SamplesError(`${folder}: there is no picture in it (${endings.join(' ')})`);
  return pictures.sort();
}

function everyNth<T>(all: readonly T[], most: number): T[] {
  if (all.length <= most) return [...all];
  return Array.from({ length: most }, (_, at) => all[Math.floor((at * all.length) / most)] as T);
}

async function readSample(
  path: string,
  transforms: Transforms,
  { maxBytes, preprocess }: SampleReader,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  try {
    if ((await stat(path)).size > maxBytes) return undefined;
    return await preprocess(await readFile(path), transforms, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return undefined;
  }
}
