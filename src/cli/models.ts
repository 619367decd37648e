import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config.js';
import { buildArchitecture } from '../model-registry/architecture.js';
import { embeddedModels, resolveModel } from '../model-registry/resolve.js';
import { multiplyAdds } from '../network/shapes.js';
import { parameterCount } from '../network/state-dict.js';
import { type CatalogueEntry, catalogue, fileName } from '../weights/catalogue.js';
import { checkpointsFolder, isThere } from '../weights/hub-folder.js';
import { type Column, table } from './table.js';
import { count, gflops, megabytes } from './units.js';

/** A model as it is listed; the names are those of the JSON. */
interface ListedModel {
  /** What `--model` takes. */
  readonly name: string;
  readonly weights: string;
  readonly num_params: number;
  /** Per cent; null where they are not known. */
  readonly 'acc@1': number | null;
  readonly 'acc@5': number | null;
  /** Of one picture. */
  readonly multiply_adds: number;
  readonly size_bytes: number;
  /** Where the file is, or will be. */
  readonly path: string;
  readonly here: boolean;
  /** Why no picture can be classified with it. */
  readonly unusable: string | null;
}

const columns: readonly Column[] = [
  { heading: 'NAME', align: 'left' },
  { heading: 'PARAMETERS', align: 'right' },
  { heading: 'ACC@1', align: 'right' },
  { heading: 'ACC@5', align: 'right' },
  { heading: 'GFLOPS', align: 'right' },
  { heading: 'SIZE', align: 'right' },
  { heading: 'HERE', align: 'left' },
];

/** Prints the embedded models and those of the catalogue. Answers the exit code. */
export async function models(config: Config<'models'>, env: NodeJS.ProcessEnv): Promise<number> {
  const folder = checkpointsFolder(env);
  const listed = [
    ...(await Promise.all(embeddedModels().map(embeddedModel))),
    ...(await Promise.all(catalogue.map((entry) => catalogueModel(entry, folder)))),
  ];
  if (config.json) process.stdout.write(`${JSON.stringify({ models: listed }, null, 2)}\n`);
  else process.stdout.write(table(columns, listed.map(rowOf)));
  return 0;
}

async function embeddedModel(name: string): Promise<ListedModel> {
  const { weights, source, network: architecture, transforms, meta } = await resolveModel(name);
  const network = buildArchitecture(architecture);
  const path = source.kind === 'file' ? source.path : '';
  const file = await stat(path).catch(() => undefined);
  return {
    name,
    weights,
    num_params: parameterCount(network),
    'acc@1': meta['acc@1'] ?? null,
    'acc@5': meta['acc@5'] ?? null,
    multiply_adds: multiplyAdds(network, transforms.crop),
    size_bytes: file?.size ?? 0,
    path,
    here: file !== undefined,
    unusable: null,
  };
}

async function catalogueModel(entry: CatalogueEntry, folder: string): Promise<ListedModel> {
  const { builder, entry: weights, isDefault, meta } = entry;
  const path = join(folder, fileName(entry));
  return {
    name: isDefault ? builder : `${builder}:${weights}`,
    weights,
    num_params: meta.num_params,
    'acc@1': meta['acc@1'],
    'acc@5': meta['acc@5'],
    multiply_adds: Math.round(meta.ops * 1e9),
    size_bytes: Math.round(meta.file_size * 2 ** 20),
    path,
    here: await isThere(path),
    unusable: entry.unusable ?? null,
  };
}

function rowOf(model: ListedModel): string[] {
  return [
    model.name,
    count(model.num_params),
    percent(model['acc@1']),
    percent(model['acc@5']),
    gflops(model.multiply_adds),
    `${megabytes(model.size_bytes)} MB`,
    model.unusable === null ? (model.here ? 'yes' : 'no') : 'cannot classify',
  ];
}

function percent(accuracy: number | null): string {
  return accuracy === null ? '-' : accuracy.toFixed(2);
}
