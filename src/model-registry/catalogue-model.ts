import { basename, extname, resolve } from 'node:path';
import { type CatalogueBuilder, type CatalogueEntry, defaultEntry } from '../weights/catalogue.js';
import { readCheckpoint } from '../weights/checkpoint.js';
import { CheckpointError } from '../weights/checkpoint-error.js';
import { imagenetCategories } from '../weights/imagenet-categories.js';
import { builderArchitecture } from './architecture.js';
import type { Manifest } from './manifest.js';
import type { Spelling } from './spelling.js';

/** Of `vgg16:none`: two starts give the same numbers. */
const untrainedSeed = 0;

/**
 * The manifest of a model of the catalogue. Its name is the builder's for the default weights (`vgg16`), with the weights
 * for others (`resnet50:IMAGENET1K_V1`, `vgg16:none`), and the file's without its ending for an own one: so the models of
 * one builder can be served side by side.
 *
 * @throws CheckpointError for an own file that cannot be read, or that holds no such network
 */
export async function catalogueManifest(spelling: Spelling): Promise<Manifest> {
  const { builder } = spelling;
  switch (spelling.kind) {
    case 'pretrained': {
      const { entry } = spelling;
      const { num_params, 'acc@1': acc1, 'acc@5': acc5, recipe } = entry.meta;
      return {
        ...manifestOf(entry, imagenetCategories),
        name: entry.isDefault ? builder : `${builder}:${entry.entry}`,
        weights: entry.entry,
        source: { kind: 'hub', entry },
        meta: {
          ...{ num_params, recipe, dataset: 'ImageNet-1K' },
          ...{ 'acc@1': acc1 ?? undefined, 'acc@5': acc5 ?? undefined },
        },
      };
    }
    case 'untrained':
      return {
        ...manifestOf(defaultEntry(builder), imagenetCategories),
        name: `${builder}:none`,
        weights: `none (untrained, seed ${untrainedSeed})`,
        source: { kind: 'untrained', seed: untrainedSeed },
        meta: {},
      };
    case 'own': {
      const path = resolve(spelling.path);
      return {
        ...manifestOf(defaultEntry(builder), categoriesFor(await countClasses(path, builder))),
        name: nameOfFile(path) || builder,
        weights: basename(path),
        source: { kind: 'file', path },
        meta: {},
      };
    }
    default:
      return spelling satisfies never;
  }
}

/** What the builder and the number of classes say; the transforms are those of the entry. */
function manifestOf({ builder, transforms }: CatalogueEntry, categories: readonly string[]) {
  const { resize, crop, mean, std } = transforms;
  return {
    builder,
    network: builderArchitecture(builder, categories.length),
    transforms: { resize, crop, mean, std },
    categories,
  };
}

/** Of the last layer in a checkpoint of an own network. */
async function countClasses(path: string, builder: CatalogueBuilder): Promise<number> {
  const { tensors } = await readCheckpoint(path);
  const last = builder === 'resnet50' ? 'fc.weight' : 'classifier.6.weight';
  const classes = tensors.find(({ name }) => name === last)?.shape[0];
  if (classes !== undefined) return classes;
  throw new CheckpointError('state_dict_mismatch', path, `There is no ${last} in it, as ${builder} has.`);
}

/** ImageNet's names for 1,000 classes, else `class 0`, `class 1`, ... */
export function categoriesFor(classes: number): readonly string[] {
  if (classes === imagenetCategories.length) return imagenetCategories;
  return Array.from({ length: classes }, (_, index) => `class ${index}`);
}

/** As a manifest may be called; empty when the file's name has no letter that it may hold. */
export function nameOfFile(path: string): string {
  return basename(path, extname(path))
    .replace(/[^\w.-]+/g, '-')
    .slice(0, 64)
    .replace(/^[^A-Za-z0-9]+|-+$/g, '');
}
