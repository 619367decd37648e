import { readFileSync } from 'node:fs';
import type { BuilderName } from '../../src/vgg/configs.js';

/** A row of catalogue.json: what torchvision itself says about one set of weights. */
interface CatalogueRow {
  readonly builder: BuilderName | 'resnet50';
  readonly entry: string;
  readonly meta: { readonly num_params: number; readonly _ops: number };
  /** [name, shape, dtype], in the order of `state_dict()`. */
  readonly state_dict: readonly (readonly [string, readonly number[], string])[];
}

interface VggRow extends CatalogueRow {
  readonly builder: BuilderName;
}

interface ResNetRow extends CatalogueRow {
  readonly builder: 'resnet50';
}

const catalogue = read('catalogue.json') as { readonly weights: readonly CatalogueRow[] };
const printed = read('printed.json') as { readonly [builder: string]: string };

/** The nine sets of VGG weights of torchvision 0.29. */
export const vggRows = catalogue.weights.filter((row): row is VggRow => row.builder !== 'resnet50');

/** The two sets of ResNet-50 weights. */
export const resnetRows = catalogue.weights.filter((row): row is ResNetRow => row.builder === 'resnet50');

/** What `print(torchvision.models[builder]())` shows. */
export function printedBy(builder: BuilderName | 'resnet50'): string | undefined {
  return printed[builder];
}

function read(file: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../../test/fixtures/torchvision/${file}`, import.meta.url), 'utf8'));
}
