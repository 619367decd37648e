import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { buildArchitecture, builderArchitecture } from '../../src/model-registry/architecture.js';
import { multiplyAdds } from '../../src/network/shapes.js';
import { parameterCount } from '../../src/network/state-dict.js';
import {
  catalogue,
  catalogueBuilders,
  defaultEntry,
  entriesOf,
  fileName,
  hashPrefix,
} from '../../src/weights/catalogue.js';
import { imagenetCategories } from '../../src/weights/imagenet-categories.js';

/** A row of catalogue.json: what torchvision itself says about one set of weights. */
interface Row {
  readonly builder: string;
  readonly enum: string;
  readonly entry: string;
  readonly default: boolean;
  readonly url: string;
  readonly transforms: {
    readonly crop_size: readonly number[];
    readonly resize_size: readonly number[];
    readonly mean: readonly number[];
    readonly std: readonly number[];
    readonly interpolation: string;
  };
  readonly meta: {
    readonly num_params: number;
    readonly min_size: readonly number[];
    readonly recipe: string;
    readonly _metrics: { readonly 'ImageNet-1K': { readonly 'acc@1': number | null; readonly 'acc@5': number | null } };
    readonly _ops: number;
    readonly _file_size: number;
    readonly _docs: string;
  };
  readonly num_categories: number | null;
}

const fixtures = new URL('../../../test/fixtures/torchvision/', import.meta.url);
const read = (file: string) => JSON.parse(readFileSync(new URL(file, fixtures), 'utf8'));
const published: readonly Row[] = read('catalogue.json').weights;

test('the catalogue has every field of every entry as torchvision publishes it, in its order', () => {
  const expected = published.map(({ meta, transforms, ...row }) => ({
    builder: row.builder,
    enumName: row.enum,
    entry: row.entry,
    isDefault: row.default,
    url: row.url,
    transforms: {
      resize: transforms.resize_size[0],
      crop: transforms.crop_size[0],
      mean: transforms.mean,
      std: transforms.std,
      interpolation: transforms.interpolation,
    },
    meta: {
      num_params: meta.num_params,
      ...meta._metrics['ImageNet-1K'],
      min_size: meta.min_size,
      recipe: meta.recipe,
      ops: meta._ops,
      file_size: meta._file_size,
      // Without the indentation that a text has in Python's source.
      docs: meta._docs.trim().replace(/\s+/g, ' '),
    },
  }));
  assert.equal(expected.length, 11);
  assert.deepEqual(
    catalogue.map(({ unusable, ...entry }) => entry),
    expected,
  );
});

test('unusable are the entries without categories in torchvision', () => {
  assert.deepEqual(
    catalogue.map(({ unusable }) => unusable !== undefined),
    published.map(({ num_categories }) => num_categories === null),
  );
});

for (const { builder, entry, meta } of catalogue) {
  test(`${builder} ${entry}: num_params and ops are what the layers count`, () => {
    const network = buildArchitecture(builderArchitecture(builder, imagenetCategories.length));
    assert.equal(parameterCount(network), meta.num_params);
    assert.equal(Number((multiplyAdds(network, 224) / 1e9).toFixed(3)), meta.ops);
  });
}

test('every builder has entries and one default', () => {
  assert.equal(catalogueBuilders.length, 9);
  for (const builder of catalogueBuilders) {
    assert.equal(entriesOf(builder).filter(({ isDefault }) => isDefault).length, 1);
    assert.ok(entriesOf(builder).includes(defaultEntry(builder)));
  }
});

test("fileName and hashPrefix are torch.hub's", () => {
  const names = catalogue.map((entry) => [fileName(entry), hashPrefix(entry)]);
  assert.deepEqual(names.slice(4, 6), [
    ['vgg16-397923af.pth', '397923af'],
    ['vgg16_features-amdegroot-88682ab5.pth', '88682ab5'],
  ]);
  for (const [, prefix] of names) assert.match(prefix ?? '', /^[0-9a-f]{8}$/);
});

test("imagenetCategories are torchvision's, in its order", () => {
  assert.deepEqual(imagenetCategories, read('categories.json'));
  assert.equal(new Set(imagenetCategories).size, 1000);
});
