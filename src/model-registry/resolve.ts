import { readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { nearest } from '../nearest.js';
import { type Manifest, readManifest } from './manifest.js';

/** The package's own models: a folder each, with a manifest.json and its weights. */
const embeddedDir = fileURLToPath(new URL('../../../models/', import.meta.url));

/** A name that no embedded model bears and no path that exists. The message lists what is allowed. */
export class UnknownModelError extends Error {
  override readonly name = 'UnknownModelError';
}

export function embeddedModels(): string[] {
  return readdirSync(embeddedDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/**
 * Finds a model by what `--model` says: the name of an embedded model or, if there is none of that name, the path of a
 * manifest or of a folder that holds a manifest.json. (`./name` is a path even if an embedded model is called so.)
 *
 * @throws UnknownModelError, or ManifestError from reading the manifest
 */
export async function resolveModel(value: string): Promise<Manifest> {
  const embedded = embeddedModels();
  if (embedded.includes(value)) return await readManifest(`${embeddedDir}${value}`);
  if (statSync(value, { throwIfNoEntry: false }) !== undefined) return await readManifest(value);

  const near = nearest(value, embedded);
  throw new UnknownModelError(
    `there is no model "${value}"${near === undefined ? '' : ` (did you mean ${near}?)`}: ` +
      `give an embedded model (${embedded.join(', ')}), or the path of a manifest or of a folder that holds a manifest.json`,
  );
}
