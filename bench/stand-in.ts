/**
 * A VGG-16 that the whole way of torchvision's can be tried with where torchvision's cannot be had: its file has torch's
 * name and container, 528 MB, and a SHA-256 that begins with the digits in that name, but the weights are by formula.
 *
 *     npm run build && node dist/bench/stand-in.js FOLDER
 */
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildArchitecture, builderArchitecture } from '../src/model-registry/architecture.js';
import { stateDict } from '../src/network/state-dict.js';
import { defaultEntry, fileName } from '../src/weights/catalogue.js';
import { formulaTensor } from './formula-weights.js';
import { writeTorchZip } from './torch-zip.js';

/** The comment of the zip file: sixteen digits that were searched for once, until the hash fitted. */
const comment = '0000000003559bf1';

/** Writes it into `folder`, under torch's name. Takes three seconds. @returns its path */
export async function writeStandIn(folder: string): Promise<string> {
  const path = join(folder, fileName(defaultEntry('vgg16')));
  const tensors = stateDict(buildArchitecture(builderArchitecture('vgg16', 1000)));
  await writeTorchZip(
    `${path}.new`,
    tensors.map(({ name, shape }) => ({ name, shape, values: () => formulaTensor(name, shape) })),
    comment,
  );
  await rename(`${path}.new`, path);
  return path;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) throw new RangeError('usage: node stand-in.js FOLDER');
  console.log(await writeStandIn(folder));
}
