import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BuilderName, builders } from '../src/vgg/configs.js';
import { builderOptions, buildNetwork } from '../src/vgg/network.js';
import { writeFormulaWeights } from './formula-weights.js';

/** Of torchvision's classifiers. */
export const imageNetPreset = {
  resize: 256,
  crop: 224,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
} as const;

/**
 * Writes a full-size network with weights by formula-weights.ts into `folder`, as a model that can be served.
 * @param name a builder of torchvision
 * @returns the folder
 * @throws RangeError for a builder that there is not
 */
export async function writeFormulaModel(name: string, folder: string): Promise<string> {
  if (!Object.hasOwn(builders, name)) throw new RangeError(`the builders are ${Object.keys(builders)}`);
  const builder = name as BuilderName;
  const network = buildNetwork(builderOptions(builder));
  const file = `${builder}.safetensors`;
  await mkdir(folder, { recursive: true });
  await writeFormulaWeights(network, join(folder, file));
  const manifest = {
    name: builder,
    weights: { name: 'FORMULA', file },
    network: { builder, classes: network.classes },
    transforms: imageNetPreset,
    categories: Array.from({ length: network.classes }, (_, index) => `class ${index}`),
  };
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
  return folder;
}
