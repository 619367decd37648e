import { basename } from 'node:path';
import { type CatalogueEntry, fileName } from '../weights/catalogue.js';

/** Where a model's weights come from. */
export type WeightsSource =
  | {
      readonly kind: 'file';
      /** Absolute. */
      readonly path: string;
      /** Of that file, if it is to be checked: 64 lower-case hex digits. */
      readonly sha256?: string | undefined;
    }
  /** A file that torchvision publishes: in torch's own cache folder, or to be fetched. */
  | { readonly kind: 'hub'; readonly entry: CatalogueEntry }
  /** No pretrained weights: torchvision's initial values, drawn from a generator that starts at the seed. */
  | { readonly kind: 'untrained'; readonly seed: number };

/** The name of the file with the weights, without its folder; null for one that is made, not given. */
export function sourceFileName(source: WeightsSource): string | null {
  switch (source.kind) {
    case 'file':
      return basename(source.path);
    case 'hub':
      return fileName(source.entry);
    case 'untrained':
      return null;
    default:
      return source satisfies never;
  }
}
