import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** A picture of a data set with the class that it belongs to. */
export interface LabelledPicture {
  readonly file: string;
  /** From the data set's folder, with '/' between the names. */
  readonly relativePath: string;
  readonly classIndex: number;
}

/** A folder that is no data set for the model. The message names what is wrong with it. */
export class DatasetError extends Error {
  override readonly name = 'DatasetError';
}

/** `IMG_EXTENSIONS` of torchvision.datasets.folder: what ImageFolder takes for a picture. */
const pictureEndings = ['.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp'];

/**
 * The pictures of a folder that holds a folder per class, sorted by path (by its bytes in UTF-8, as Python and
 * `LC_ALL=C sort` do). Names that begin with a dot are passed over; links are followed.
 *
 * @throws DatasetError that names every folder which belongs to no class or to several; the system's error if `dir` cannot be read
 */
export async function readDataset(dir: string, categories: readonly string[]): Promise<LabelledPicture[]> {
  const folders = (await visibleEntries(dir))
    .filter(({ isFolder }) => isFolder)
    .map(({ name }) => name)
    .sort();
  if (folders.length === 0)
    throw new DatasetError(`${dir} holds no folder: give a folder that holds a folder per class`);

  const classes = folders.map((folder) => ({ folder, candidates: classesOf(folder, categories) }));
  const faults = classes.flatMap(({ folder, candidates }) => {
    if (candidates.length === 1) return [];
    if (candidates.length === 0) return [`  ${folder}: no such class`];
    return [`  ${folder}: may be ${candidates.map((index) => `class ${index} (${categories[index]})`).join(' or ')}`];
  });
  if (faults.length > 0) {
    const last = categories.length - 1;
    throw new DatasetError(
      `folders of ${dir} whose class is not clear (name each by an index from 0 to ${last}, or by a category of the ` +
        `model with '_' for '/'):\n${faults.join('\n')}`,
    );
  }

  const pictures: LabelledPicture[] = [];
  for (const { folder, candidates } of classes) {
    for await (const relativePath of picturesBelow(dir, folder)) {
      pictures.push({ file: join(dir, relativePath), relativePath, classIndex: candidates[0] as number });
    }
  }
  if (pictures.length === 0)
    throw new DatasetError(`the folders of ${dir} hold no picture (${pictureEndings.join(' ')})`);
  return sortedByPath(pictures);
}

/** The indices of the classes that a folder of this name may stand for; exactly one if all is well. */
function classesOf(folder: string, categories: readonly string[]): number[] {
  const byName = categories.flatMap((category, index) => (category.replaceAll('/', '_') === folder ? [index] : []));
  const byIndex = /^\d+$/.test(folder) && Number(folder) < categories.length ? [Number(folder)] : [];
  return [...new Set([...byName, ...byIndex])];
}

async function* picturesBelow(dir: string, relative: string): AsyncGenerator<string> {
  for (const { name, isFolder } of await visibleEntries(join(dir, relative))) {
    const path = `${relative}/${name}`;
    if (isFolder) yield* picturesBelow(dir, path);
    else if (pictureEndings.some((ending) => name.toLowerCase().endsWith(ending))) yield path;
  }
}

async function visibleEntries(dir: string): Promise<{ name: string; isFolder: boolean }[]> {
  const entries = (await readdir(dir, { withFileTypes: true })).filter(({ name }) => !name.startsWith('.'));
  return await Promise.all(
    entries.map(async (entry) => ({
      name: entry.name,
      isFolder: entry.isSymbolicLink() ? (await stat(join(dir, entry.name))).isDirectory() : entry.isDirectory(),
    })),
  );
}

function sortedByPath(pictures: readonly LabelledPicture[]): LabelledPicture[] {
  return pictures
    .map((picture) => ({ picture, key: Buffer.from(picture.relativePath) }))
    .sort((a, b) => Buffer.compare(a.key, b.key))
    .map(({ picture }) => picture);
}
