import { stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { type Config, UsageError } from '../config.js';
import { type Architecture, buildArchitecture, builderNames } from '../model-registry/architecture.js';
import { categoriesFor, nameOfFile } from '../model-registry/catalogue-model.js';
import { parseManifest, readManifest, type Transforms } from '../model-registry/manifest.js';
import { type Recognised, recogniseCheckpoint, titleOf } from '../model-registry/recognise.js';
import { parameterCount } from '../network/state-dict.js';
import { imagenetTransforms } from '../option-kinds.js';
import { options } from '../options.js';
import { type Cfg, cfgs, parseCfg } from '../vgg/configs.js';
import { type Checkpoint, readCheckpoint } from '../weights/checkpoint.js';
import { holdsNaN } from '../weights/not-a-number.js';
import { readCategories } from './categories-file.js';
import { Terminal } from './terminal.js';
import { count } from './units.js';

/** A manifest that was not written. */
export class InitError extends Error {
  override readonly name = 'InitError';
}

/** What was found and written. */
export interface Initialised {
  readonly manifest: string;
  readonly model: string;
  /** The network as the manifest has it. */
  readonly network: unknown;
  readonly parameters: number;
  /** What was assumed, and how to say otherwise: whole sentences. */
  readonly notes: readonly string[];
  readonly command: string;
}

/** Writes a manifest for a checkpoint. Asks for what is missing when a person sits at a terminal. */
export async function init(config: Config<'init'>): Promise<number> {
  const asks = process.stdin.isTTY && process.stdout.isTTY && !config.json;
  const terminal = asks ? new Terminal(process.stdin, process.stdout) : undefined;
  const print = (line: string) => process.stdout.write(config.json ? '' : `${line}\n`);
  try {
    const result = await initModel(config, print, terminal);
    if (config.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    return 0;
  } finally {
    terminal?.close();
  }
}

/**
 * Recognises the network in the checkpoint, takes what was given, asks the terminal for the rest or takes the defaults
 * where there is none, and writes the manifest.
 * @param print takes each line as soon as it is known
 * @throws UsageError for a cfg that is none; CheckpointError, UnrecognisedError, CategoriesError, ManifestError; InitError
 * for a manifest that is there already, and for weights that are no numbers
 */
export async function initModel(
  config: Config<'init'>,
  print: (line: string) => void,
  terminal?: Terminal,
): Promise<Initialised> {
  const file = config.operands[0] as string;
  const cfg = config.cfg === undefined ? undefined : cfgOf(config.cfg);
  const checkpoint = await readCheckpoint(file);
  const recognised = recogniseCheckpoint(checkpoint, { cfg, pool: config.pool });
  await refuseFeaturesOnly(checkpoint, recognised.architecture);
  const manifest = await manifestPathOf(config.manifestPath ?? dirname(file), config.force);

  const { architecture } = recognised;
  const { classes } = architecture;
  const parameters = parameterCount(buildArchitecture(architecture));
  print(`${file}: ${titleOf(recognised)}, ${count(classes)} classes, ${count(parameters)} parameters`);

  const notes: string[] = [...recognised.notes];
  const categories = await categoriesOf(config, classes, terminal, notes);
  const transforms = await transformsOf(config, terminal, notes);
  const name = await nameOf(config, file, terminal);
  const network = networkOf(recognised);
  const text = inJson({
    name,
    weights: { name: basename(file), file: relative(dirname(resolve(manifest)), checkpoint.path).replaceAll(sep, '/') },
    network,
    transforms,
    categories,
  });
  await parseManifest(manifest, JSON.parse(text));
  await writeFile(manifest, text, { flag: config.force ? 'w' : 'wx' });
  await readManifest(manifest);

  const command = `vgg-serve serve --model ${forShell(manifest)}`;
  for (const note of notes) print(`Note: ${note}`);
  print(`Written to ${manifest}. To serve it:\n\n  ${command}\n`);
  return { manifest, model: name, network, parameters, notes, command };
}

async function manifestPathOf(given: string, force: boolean): Promise<string> {
  const isFolder = (await stat(given).catch(() => undefined))?.isDirectory() === true;
  const path = isFolder ? join(given, 'manifest.json') : given;
  if (force || (await stat(path).catch(() => undefined)) === undefined) return path;
  throw new InitError(`${path} is there already: give another --out, or --force to write over it`);
}

/** A name of the table or, with commas, a list. */
function cfgOf(text: string): Cfg {
  const items = text.split(',').map((item) => item.trim());
  const isName = items.length === 1 && Object.hasOwn(cfgs, text);
  try {
    return parseCfg(isName ? text : items.map((item) => (/^\d+$/.test(item) ? Number(item) : item)));
  } catch (error) {
    throw new UsageError(`--cfg: ${(error as Error).message} The names are ${Object.keys(cfgs).join(', ')}.`);
  }
}

/** torchvision's IMAGENET1K_FEATURES has the shapes of a VGG-16 and NaN for its classifier. */
async function refuseFeaturesOnly(checkpoint: Checkpoint, architecture: Architecture): Promise<void> {
  const last = 'builder' in architecture ? 'fc' : 'classifier.6';
  for (const tensor of [`${last}.bias`, `${last}.weight`]) {
    if (!(await holdsNaN(checkpoint, tensor))) continue;
    throw new InitError(
      `${checkpoint.path}: ${tensor} holds NaN, so the network cannot classify; weights for features only ` +
        "(torchvision's IMAGENET1K_FEATURES) are so",
    );
  }
}

async function categoriesOf(
  config: Config<'init'>,
  classes: number,
  terminal: Terminal | undefined,
  notes: string[],
): Promise<readonly string[]> {
  const read = (path: string) => readCategories(path, classes);
  if (config.categories !== undefined) return await read(config.categories);
  const fallback = categoriesFor(classes);
  const named = fallback[0] === 'class 0' ? '"class 0", "class 1", ...' : "ImageNet's names";
  const question = `File with the names of the ${classes} classes, one a line, or class_to_idx as JSON`;
  const answered = await terminal?.ask(question, named, read);
  if (answered !== undefined) return answered;
  notes.push(`The categories are ${named}; --categories FILE says otherwise.`);
  return fallback;
}

async function transformsOf(
  config: Config<'init'>,
  terminal: Terminal | undefined,
  notes: string[],
): Promise<Transforms> {
  if (config.transforms !== undefined) return config.transforms;
  const { kind } = options.transforms;
  const answered = await terminal?.ask('Transforms: imagenet, or RESIZE,CROP in pixels', 'imagenet', (answer) => {
    const value = kind.parse(answer);
    if (value === undefined) throw new UsageError(`"${answer}" is not allowed: give ${kind.allowed}`);
    return value;
  });
  if (answered !== undefined) return answered;
  const { resize, crop } = imagenetTransforms;
  notes.push(
    `The transforms are those of ImageNet (resize ${resize}, crop ${crop}): a checkpoint does not show what the network ` +
      'was trained with; --transforms says otherwise.',
  );
  return imagenetTransforms;
}

async function nameOf(config: Config<'init'>, file: string, terminal: Terminal | undefined): Promise<string> {
  if (config.name !== undefined) return config.name;
  const fallback = nameOfFile(file) || 'model';
  return (await terminal?.ask('Name of the model', fallback, (answer) => answer)) ?? fallback;
}

/** The manifest's field `network`. */
function networkOf({ architecture, name }: Recognised) {
  const { classes } = architecture;
  const builder = builderNames.find((one) => one === name);
  if ('builder' in architecture || builder !== undefined) return { builder: name, classes };
  const { cfg, batchNorm, pool, hidden } = architecture;
  return { cfg: name ?? cfg, batch_norm: batchNorm, pool, hidden, classes };
}

/** A field a line, and a category a line. */
function inJson(manifest: { readonly categories: readonly string[] } & Readonly<Record<string, unknown>>): string {
  const fields = Object.entries(manifest).map(([name, value]) => {
    const text =
      name === 'categories'
        ? JSON.stringify(value, null, 2).replaceAll('\n', '\n  ')
        : JSON.stringify(value, null, 1)
            .replaceAll(/(?<=\[)\n\s*|\n\s*(?=\])/g, '')
            .replaceAll(/\n\s*/g, ' ');
    return `  ${JSON.stringify(name)}: ${text}`;
  });
  return `{\n${fields.join(',\n')}\n}\n`;
}

/** As one word of a POSIX shell. */
function forShell(path: string): string {
  return /^[\w./@%+=:,-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
