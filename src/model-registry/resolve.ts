import { readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { catalogueManifest } from './catalogue-model.js';
import { type Manifest, readManifest } from './manifest.js';
import { parseSpelling, splitPrecision, unknownModel, unknownPrecision } from './spelling.js';

/** The package's own models: a folder each, with a manifest.json and its weights. */
const embeddedDir = fileURLToPath(new URL('../../../models/', import.meta.url));

export function embeddedModels(): string[] {
  return readdirSync(embeddedDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/** The sample pictures of the first embedded model. */
export function embeddedSamples(): { readonly model: string; readonly folder: string } {
  const [model = ''] = embeddedModels();
  return { model, folder: `${embeddedDir}${model}/samples` };
}

/**
 * Finds a model by what `--model` says: the name of an embedded model; else a model of the catalogue, as `parseSpelling`
 * reads it; else the path of a manifest or of a folder that holds a manifest.json. (`./vgg16` is always a path.) A
 * precision behind it, as `splitPrecision` reads it, goes before the manifest's own and becomes part of the name, so that
 * `vgg16` and `vgg16@bf16` can be served side by side. Nothing is fetched, and of weights no more than the index of an own
 * file is read.
 *
 * @throws UnknownModelError; ManifestError from reading a manifest; CheckpointError from an own file (`vgg16=FILE`)
 */
export async function resolveModel(value: string): Promise<Manifest> {
  const { model, precision } = splitPrecision(value);
  const [, before] = /^(.+)@[^@/\\]*$/s.exec(model) ?? [];
  if (before !== undefined && !isThere(model) && isThere(before)) throw unknownPrecision(model);
  const manifest = await resolveWithout(model);
  return precision === undefined ? manifest : { ...manifest, name: `${manifest.name}@${precision}`, precision };
}

/** @param value without a precision */
async function resolveWithout(value: string): Promise<Manifest> {
  const embedded = embeddedModels();
  if (embedded.includes(value)) return await readManifest(`${embeddedDir}${value}`);
  const spelling = parseSpelling(value);
  if (spelling !== undefined) return await catalogueManifest(spelling);
  if (exists(value)) return await readManifest(value);
  throw unknownModel(value, embedded);
}

/** Whether a text without a precision leads to a model; what the model is made of may still be wrong. */
function isThere(value: string): boolean {
  if (embeddedModels().includes(value)) return true;
  try {
    const spelling = parseSpelling(value);
    if (spelling === undefined) return exists(value);
    return spelling.kind !== 'own' || exists(spelling.path);
  } catch {
    return false;
  }
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
