/**
 * A VGG-16 that the whole way of torchvision's can be tried with where torchvision's cannot be had: its file has torch's
 * name, 528 MB, and a SHA-256 that begins with the digits in that name, but the weights are by formula.
 *
 *     npm run build && node dist/bench/stand-in.js FOLDER
 *
 * The last 12 bits of the last four biases were searched for once, until the hash fitted; they change a bias by 0.02 %.
 */
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildArchitecture, builderArchitecture } from '../src/model-registry/architecture.js';
import { defaultEntry, fileName } from '../src/weights/catalogue.js';
import { writeFormulaWeights } from './formula-weights.js';

const lastBits = [0xfff, 0x3e9, 0x005, 0x000] as const;
const mask = 0xfff;

/** Writes it into `folder`, under torch's name. Takes three seconds. @returns its path */
export async function writeStandIn(folder: string): Promise<string> {
  const path = join(folder, fileName(defaultEntry('vgg16')));
  await writeFormulaWeights(buildArchitecture(builderArchitecture('vgg16', 1000)), `${path}.new`);
  const file = await open(`${path}.new`, 'r+');
  try {
    const { size } = await file.stat();
    const bytes = Buffer.alloc(4 * lastBits.length);
    const at = size - bytes.length;
    await file.read(bytes, 0, bytes.length, at);
    for (const [index, bits] of lastBits.entries()) {
      const word = bytes.readUInt32LE(4 * index);
      bytes.writeUInt32LE(((word & ~mask) | bits) >>> 0, 4 * index);
    }
    await file.write(bytes, 0, bytes.length, at);
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  return path;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) throw new RangeError('usage: node stand-in.js FOLDER');
  console.log(await writeStandIn(folder));
}
