import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const native = new URL('../../native/', import.meta.url);

/** Makes the addons on this machine; true in a checkout and in the installed package. */
export const buildCommand = `node ${fileURLToPath(new URL('build.mjs', native))}`;

/**
 * The file of an addon: what native/build.mjs has compiled on this machine, else what came with the package for its
 * platform; undefined where there is neither.
 */
export function addonFile(name: 'vgg_native' | 'vgg_resample'): string | undefined {
  return ['build', `prebuilt/${process.platform}-${process.arch}`]
    .map((folder) => fileURLToPath(new URL(`${folder}/${name}.node`, native)))
    .find((path) => existsSync(path));
}
