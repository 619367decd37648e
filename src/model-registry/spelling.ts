import { type Precision, precisions } from '../engines/engine.js';
import { nearest } from '../nearest.js';
import {
  type CatalogueBuilder,
  type CatalogueEntry,
  catalogueBuilders,
  defaultEntry,
  entriesOf,
} from '../weights/catalogue.js';

/** A name that stands for no model. The message says what was seen, what was probably meant, and lists what is allowed. */
export class UnknownModelError extends Error {
  override readonly name = 'UnknownModelError';
}

/** What a spelling of a catalogue model asks for. */
export type Spelling =
  | { readonly kind: 'pretrained'; readonly builder: CatalogueBuilder; readonly entry: CatalogueEntry }
  | { readonly kind: 'untrained'; readonly builder: CatalogueBuilder }
  /** The path as it was given. */
  | { readonly kind: 'own'; readonly builder: CatalogueBuilder; readonly path: string };

/**
 * Reads `vgg16`, `vgg16:DEFAULT`, `vgg16:IMAGENET1K_V1`, `vgg16:VGG16_Weights.IMAGENET1K_V1`, `vgg16:none` or
 * `vgg16=/path/to/own.pth`. Builders are known in any case, as torchvision.models.get_model_weights knows them; weights
 * as WeightsEnum.verify knows them: in their own case, the enum's name and a dot may stand before, another enum's may not.
 *
 * @returns undefined for a text that does not begin with a builder
 * @throws UnknownModelError for weights that the builder does not have, or that cannot classify
 */
export function parseSpelling(value: string): Spelling | undefined {
  const [, word = '', mark, rest = ''] = /^(\w+)(?:([:=])(.*))?$/s.exec(value) ?? [];
  const builder = catalogueBuilders.find((name) => name === word.toLowerCase());
  if (builder === undefined) return undefined;
  if (mark === '=') {
    if (rest === '') throw new UnknownModelError(`"${value}" names no file: ${allowedFor(builder)}`);
    return { kind: 'own', builder, path: rest };
  }
  if (mark === undefined) return { kind: 'pretrained', builder, entry: defaultEntry(builder) };
  return rest === 'none' ? { kind: 'untrained', builder } : pretrained(builder, rest);
}

/**
 * Takes the precision off the end: `vgg16@bf16`, `vgg16=own.pth@bf16`, `own/manifest.json@fp32`. Only what stands behind
 * the last @ counts, and only if it is a precision, so that a path may hold an @; one that ends as if by a precision
 * (`own@bf16`) is given with one behind it (`own@bf16@fp32`).
 */
export function splitPrecision(value: string): { readonly model: string; readonly precision: Precision | undefined } {
  const at = value.lastIndexOf('@');
  const precision = at < 0 ? undefined : precisions.find((name) => name === value.slice(at + 1));
  return { model: precision === undefined ? value : value.slice(0, at), precision };
}

/** The error for a text in which what stands behind the last @ should have been a precision. */
export function unknownPrecision(value: string): UnknownModelError {
  const at = value.lastIndexOf('@');
  const [model, seen] = [value.slice(0, at), value.slice(at + 1)];
  const near = likely(seen, precisions);
  const allowed = precisions.map((precision) => `${model}@${precision}`).join(', ');
  return new UnknownModelError(
    `there is no precision "${seen}"${hint(near && `${model}@${near}`)}: give ${allowed}, or ${model} alone`,
  );
}

function pretrained(builder: CatalogueBuilder, weights: string): Spelling {
  const { enumName } = defaultEntry(builder);
  const name = weights.replaceAll(`${enumName}.`, '');
  const entry = name === 'DEFAULT' ? defaultEntry(builder) : entriesOf(builder).find(({ entry }) => entry === name);
  if (entry === undefined) {
    const near = likely(`${builder}:${weights}`, spellingsOf(builder));
    throw new UnknownModelError(`${builder} has no weights "${weights}"${hint(near)}: ${allowedFor(builder)}`);
  }
  if (entry.unusable !== undefined) {
    throw new UnknownModelError(`${builder}:${name} cannot classify (${entry.unusable}): ${allowedFor(builder)}`);
  }
  return { kind: 'pretrained', builder, entry };
}

/** The error for a text that is neither a spelling nor an embedded model nor a path. */
export function unknownModel(value: string, embedded: readonly string[]): UnknownModelError {
  const near = likely(value, [...embedded, ...catalogueBuilders.flatMap(spellingsOf)]);
  return new UnknownModelError(
    `there is no model "${value}"${hint(near)}: give an embedded model (${embedded.join(', ')}), ` +
      `one of torchvision's (${catalogueBuilders.join(', ')}; which weights may follow, as in vgg16:IMAGENET1K_V1, ` +
      'vgg16:none or vgg16=FILE), or the path of a manifest or of a folder that holds a manifest.json; @ and a ' +
      `precision (${precisions.join(', ')}) may stand behind each`,
  );
}

/** All texts that name weights of a builder, but for `=FILE`. */
export function spellingsOf(builder: CatalogueBuilder): string[] {
  const usable = entriesOf(builder).filter(({ unusable }) => unusable === undefined);
  const entries = usable.flatMap(({ entry, enumName }) => [entry, `${enumName}.${entry}`]);
  return [builder, ...['DEFAULT', ...entries, 'none'].map((weights) => `${builder}:${weights}`)];
}

function allowedFor(builder: CatalogueBuilder): string {
  return `give ${spellingsOf(builder).join(', ')} or ${builder}=FILE`;
}

function hint(near: string | undefined): string {
  return near === undefined ? '' : ` (did you mean ${near}?)`;
}

/** The nearest, where other letters count more than another case. */
function likely(word: string, candidates: readonly string[]): string | undefined {
  const lower = candidates.map((candidate) => candidate.toLowerCase());
  const near = nearest(word.toLowerCase(), lower);
  return near === undefined ? undefined : candidates[lower.indexOf(near)];
}
