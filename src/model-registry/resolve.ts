import { readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { catalogueManifest } from './catalogue-model.js';
import { type Manifest, readManifest } from './manifest.js';
import { parseSpelling, unknownModel } from './spelling.js';

/** The package's own models: a folder each, with a manifest.json and its weights. */
const embeddedDir = fileURLToPath(new URL('../../../models/', import.meta.url));

export function embeddedModels(): string[] {
  return readdirSync(embeddedDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/**
 * Finds a model by what `--model` says: the name of an embedded model; else a model of the catalogue, as `parseSpelling`
 * reads it; else the path of a manifest or of a folder that holds a manifest.json. (`./vgg16` is always a path.) Nothing
 * is fetched, and of weights no more than the index of an own file is read.
 *
 * @throws UnknownModelError; ManifestError from reading a manifest; CheckpointError from an own file (`vgg16=FILE`)
 */
export async function resolveModel(value: string): Promise<Manifest> {
  const embedded = embeddedModels();
  if (embedded.includes(value)) return await readManifest(`${embeddedDir}${value}`);
  const spelling = parseSpelling(value);
  if (spelling !== undefined) return await catalogueManifest(spelling);
  if (statSync(value, { throwIfNoEntry: false }) !== undefined) return await readManifest(value);
  throw unknownModel(value, embedded);
}
