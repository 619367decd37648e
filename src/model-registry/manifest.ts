import { readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Precision, precisions } from '../engines/engine.js';
import { outputShapes } from '../network/shapes.js';
import { parameterCount } from '../network/state-dict.js';
import { parseCfg } from '../vgg/configs.js';
import {
  type Architecture,
  type BuilderName,
  buildArchitecture,
  builderArchitecture,
  builderNames,
} from './architecture.js';
import { JsonField, ManifestError } from './json-field.js';
import type { WeightsSource } from './source.js';

export { ManifestError };

/** torchvision's ImageClassification preset: sizes in pixels, mean and std for each channel on the 0..1 scale. */
export interface Transforms {
  readonly resize: number;
  /** The side of the square that the network sees. */
  readonly crop: number;
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

/** Where the weights come from and how good they are, under the names of torchvision's `meta`. */
export interface ModelMeta {
  readonly num_params?: number | undefined;
  /** Per cent. */
  readonly 'acc@1'?: number | undefined;
  readonly 'acc@5'?: number | undefined;
  readonly recipe?: string | undefined;
  readonly dataset?: string | undefined;
}

/** Everything that is known of a model before its weights are opened. */
export interface Manifest {
  readonly name: string;
  /** The name of the weights, for answers. */
  readonly weights: string;
  readonly source: WeightsSource;
  readonly builder?: BuilderName | undefined;
  readonly network: Architecture;
  readonly transforms: Transforms;
  /** One for each class, in the order of the logits. Names may repeat. */
  readonly categories: readonly string[];
  readonly meta: ModelMeta;
  /** @default what the service is told to take */
  readonly precision?: Precision | undefined;
}

/** For a file that was taken for a manifest; a real one with 1,000 classes has 20 kB. */
const mostBytes = 16 * 2 ** 20;

/**
 * Reads and checks a manifest; its weights are not opened. Files that it names stand relative to it.
 * @param path of the JSON file, or of a folder that holds a `manifest.json`
 * @throws ManifestError that names the field, what was seen and what is allowed
 */
export async function readManifest(path: string): Promise<Manifest> {
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() === true;
  const file = isFolder ? join(path, 'manifest.json') : path;
  return await parseManifest(file, await readJson(file));
}

/**
 * Checks a manifest that lies, or will lie, in `file`.
 * @param json what JSON.parse makes of its text
 * @throws ManifestError as readManifest does
 */
export async function parseManifest(file: string, json: unknown): Promise<Manifest> {
  const root = new JsonField(file, json);
  const fields = root.object(['name', 'weights', 'network', 'transforms', 'categories'], ['meta', 'precision']);
  const weights = fields.weights.object(['name', 'file'], ['sha256']);
  const { builder, architecture } = readNetwork(fields.network);
  const network = fields.network.check(': ', () => buildArchitecture(architecture));
  const transforms = readTransforms(fields.transforms);
  fields.transforms.check('.crop: ', () => outputShapes(network, transforms.crop));
  return {
    name: fields.name.text(/^[A-Za-z0-9][\w.-]{0,63}$/, 'up to 64 of A-Z a-z 0-9 . _ - with a letter or digit first'),
    weights: weights.name.text(),
    source: {
      kind: 'file',
      path: resolve(dirname(file), weights.file.text()),
      sha256: weights.sha256?.text(/^[0-9a-f]{64}$/i, '64 hex digits').toLowerCase(),
    },
    builder,
    network: architecture,
    transforms,
    categories: await readCategories(fields.categories, dirname(file), network.classes),
    meta: fields.meta ? readMeta(fields.meta, parameterCount(network)) : {},
    precision: fields.precision?.oneOf(precisions),
  };
}

async function readJson(file: string): Promise<unknown> {
  const text = await readText(file).catch((error: Error) => {
    throw new ManifestError(file, error.message, { cause: error });
  });
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ManifestError(file, `not JSON: ${(error as Error).message}`, { cause: error });
  }
}

async function readText(file: string): Promise<string> {
  const { size } = await stat(file).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? new Error('there is no such file', { cause: error }) : error;
  });
  if (size > mostBytes) throw new Error(`${size} bytes are too many for a text; allowed are ${mostBytes}`);
  return await readFile(file, 'utf8');
}

function readNetwork(field: JsonField): { builder: BuilderName | undefined; architecture: Architecture } {
  if (field.has('builder')) {
    const { builder, classes } = field.object(['builder', 'classes']);
    const name = builder.oneOf(builderNames);
    return { builder: name, architecture: builderArchitecture(name, classes.size()) };
  }
  if (!field.has('cfg')) {
    throw field.error('needs a builder (with classes) or a cfg (with batch_norm, pool, hidden and classes).');
  }
  const { cfg, batch_norm, pool, hidden, classes } = field.object(['cfg', 'batch_norm', 'pool', 'hidden', 'classes']);
  const architecture = {
    cfg: field.check('.', () => parseCfg(cfg.value)),
    batchNorm: batch_norm.flag(),
    pool: pool.tuple(2, (extent) => extent.size()),
    hidden: hidden.size(),
    classes: classes.size(),
  };
  return { builder: undefined, architecture };
}

function readTransforms(field: JsonField): Transforms {
  const { resize, crop, mean, std } = field.object(['resize', 'crop', 'mean', 'std']);
  return {
    resize: resize.size(),
    crop: crop.size(),
    mean: mean.tuple(3, (channel) => channel.number()),
    std: std.tuple(3, (channel) => channel.number((value) => value > 0, 'a number above 0')),
  };
}

/** A list of names, or the name of a text file with one name a line. */
async function readCategories(field: JsonField, folder: string, classes: number): Promise<string[]> {
  const names =
    typeof field.value === 'string'
      ? await readLines(field, resolve(folder, field.text()))
      : field.list().map((item) => item.text());
  if (names.length === classes) return names;
  throw field.error(`are ${names.length} names, but the network has ${classes} classes.`);
}

async function readLines(field: JsonField, file: string): Promise<string[]> {
  const text = await readText(file).catch((error: Error) => {
    throw field.error(`are in ${field.value}: ${error.message}.`, { cause: error });
  });
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/);
  const empty = lines.findIndex((line) => line.trim() === '');
  if (empty >= 0) throw field.error(`are in ${field.value}, whose line ${empty + 1} is empty.`);
  return lines;
}

function readMeta(field: JsonField, counted: number): ModelMeta {
  const fields = field.object([], ['num_params', 'acc@1', 'acc@5', 'recipe', 'dataset']);
  const perCent = (accuracy?: JsonField) =>
    accuracy?.number((value) => value >= 0 && value <= 100, 'per cent, from 0 to 100');
  return {
    num_params: fields.num_params?.number((value) => value === counted, `${counted}, as the network's layers count`),
    'acc@1': perCent(fields['acc@1']),
    'acc@5': perCent(fields['acc@5']),
    recipe: fields.recipe?.text(),
    dataset: fields.dataset?.text(),
  };
}
