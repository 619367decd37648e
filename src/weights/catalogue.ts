/** The builders of torchvision.models that have weights here. */
export const catalogueBuilders = [
  'vgg11',
  'vgg11_bn',
  'vgg13',
  'vgg13_bn',
  'vgg16',
  'vgg16_bn',
  'vgg19',
  'vgg19_bn',
  'resnet50',
] as const;

export type CatalogueBuilder = (typeof catalogueBuilders)[number];

/** One set of pretrained weights, as torchvision publishes it (torchvision.models.WeightsEnum). */
export interface CatalogueEntry {
  readonly builder: CatalogueBuilder;
  /** `VGG16_Weights` */
  readonly enumName: string;
  /** `IMAGENET1K_V1` */
  readonly entry: string;
  /** Whether `DEFAULT` means this one. */
  readonly isDefault: boolean;
  readonly url: string;
  /** Why no picture can be classified with it. */
  readonly unusable?: string;
  readonly transforms: {
    /** Pixels. */
    readonly resize: number;
    readonly crop: number;
    /** For each channel, on the 0..1 scale. */
    readonly mean: readonly [number, number, number];
    readonly std: readonly [number, number, number];
    readonly interpolation: 'bilinear';
  };
  readonly meta: {
    readonly num_params: number;
    /** Per cent on ImageNet-1K; null where the weights do not classify. */
    readonly 'acc@1': number | null;
    readonly 'acc@5': number | null;
    /** [height, width] in pixels. */
    readonly min_size: readonly [number, number];
    readonly recipe: string;
    /** Multiply-adds of one picture, in 1e9. */
    readonly ops: number;
    /** MiB. */
    readonly file_size: number;
    readonly docs: string;
  };
}

interface Row {
  readonly builder: CatalogueBuilder;
  /** @default 'IMAGENET1K_V1' */
  readonly entry?: string;
  /** @default true */
  readonly isDefault?: boolean;
  readonly file: string;
  readonly num_params: number;
  readonly acc: readonly [number, number] | null;
  readonly ops: number;
  readonly file_size: number;
  /** @default that of the family */
  readonly recipe?: string;
  readonly docs?: string;
  readonly unusable?: string;
  readonly transforms?: Partial<CatalogueEntry['transforms']>;
}

const imagenetPreset = {
  resize: 256,
  crop: 224,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
  interpolation: 'bilinear',
} as const;

const references = 'https://github.com/pytorch/vision/tree/main/references/classification';

const families = {
  vgg: {
    min_size: [32, 32],
    recipe: `${references}#alexnet-and-vgg`,
    docs: 'These weights were trained from scratch by using a simplified training recipe.',
  },
  resnet: {
    min_size: [1, 1],
    recipe: `${references}#resnet`,
    docs: 'These weights reproduce closely the results of the paper using a simple training recipe.',
  },
} as const;

const missingClassifier =
  "These weights can't be used for classification because they are missing values in the `classifier` module.";

// biome-ignore format: one set of weights, one line, as far as it goes
const rows: readonly Row[] = [
  { builder: 'vgg11', file: 'vgg11-8a719046.pth', num_params: 132_863_336, acc: [69.02, 88.628], ops: 7.609, file_size: 506.84 },
  { builder: 'vgg11_bn', file: 'vgg11_bn-6002323d.pth', num_params: 132_868_840, acc: [70.37, 89.81], ops: 7.609, file_size: 506.881 },
  { builder: 'vgg13', file: 'vgg13-19584684.pth', num_params: 133_047_848, acc: [69.928, 89.246], ops: 11.308, file_size: 507.545 },
  { builder: 'vgg13_bn', file: 'vgg13_bn-abd245e5.pth', num_params: 133_053_736, acc: [71.586, 90.374], ops: 11.308, file_size: 507.59 },
  { builder: 'vgg16', file: 'vgg16-397923af.pth', num_params: 138_357_544, acc: [71.592, 90.382], ops: 15.47, file_size: 527.796 },
  { builder: 'vgg16', file: 'vgg16_features-amdegroot-88682ab5.pth', num_params: 138_357_544, acc: null, ops: 15.47, file_size: 527.802,
    entry: 'IMAGENET1K_FEATURES',
    isDefault: false,
    unusable: 'its classifier is NaN, only its features have values',
    recipe: 'https://github.com/amdegroot/ssd.pytorch#training-ssd',
    transforms: { mean: [0.48235, 0.45882, 0.40784], std: [1 / 255, 1 / 255, 1 / 255] },
    docs: `${missingClassifier} Only the \`features\` module has valid values and can be used for feature extraction. ` +
      'The weights were trained using the original input standardization method as described in the paper.' },
  { builder: 'vgg16_bn', file: 'vgg16_bn-6c64b313.pth', num_params: 138_365_992, acc: [73.36, 91.516], ops: 15.47, file_size: 527.866 },
  { builder: 'vgg19', file: 'vgg19-dcbb9e9d.pth', num_params: 143_667_240, acc: [72.376, 90.876], ops: 19.632, file_size: 548.051 },
  { builder: 'vgg19_bn', file: 'vgg19_bn-c79401a0.pth', num_params: 143_678_248, acc: [74.218, 91.842], ops: 19.632, file_size: 548.143 },
  { builder: 'resnet50', file: 'resnet50-0676ba61.pth', num_params: 25_557_032, acc: [76.13, 92.862], ops: 4.089, file_size: 97.781,
    isDefault: false },
  { builder: 'resnet50', file: 'resnet50-11ad3fa6.pth', num_params: 25_557_032, acc: [80.858, 95.434], ops: 4.089, file_size: 97.79,
    entry: 'IMAGENET1K_V2',
    recipe: 'https://github.com/pytorch/vision/issues/3995#issuecomment-1013906621',
    transforms: { resize: 232 },
    docs: "These weights improve upon the results of the original paper by using TorchVision's `new training recipe " +
      '<https://pytorch.org/blog/how-to-train-state-of-the-art-models-using-torchvision-latest-primitives/>`_.' },
];

/** Every set of weights that torchvision 0.29 has for the VGG builders and ResNet-50, in its order. */
export const catalogue: readonly CatalogueEntry[] = rows.map(toEntry);

function toEntry(row: Row): CatalogueEntry {
  const { builder, entry = 'IMAGENET1K_V1', isDefault = true, file, unusable, num_params, acc, ops, file_size } = row;
  const family = builder === 'resnet50' ? families.resnet : families.vgg;
  const { min_size, recipe, docs } = { ...family, ...row };
  const [acc1, acc5] = acc ?? [null, null];
  return {
    builder,
    enumName: `${builder.replace('resnet', 'ResNet').replace(/^vgg.*/, (name) => name.toUpperCase())}_Weights`,
    entry,
    isDefault,
    url: `https://download.pytorch.org/models/${file}`,
    ...(unusable !== undefined && { unusable }),
    transforms: { ...imagenetPreset, ...row.transforms },
    meta: { num_params, 'acc@1': acc1, 'acc@5': acc5, min_size, recipe, ops, file_size, docs },
  };
}

/** All of one builder's, the default among them. */
export function entriesOf(builder: CatalogueBuilder): CatalogueEntry[] {
  return catalogue.filter((entry) => entry.builder === builder);
}

/** What `DEFAULT` means for a builder. */
export function defaultEntry(builder: CatalogueBuilder): CatalogueEntry {
  const entry = entriesOf(builder).find(({ isDefault }) => isDefault);
  if (entry === undefined) throw new TypeError(`${builder} has no default weights`);
  return entry;
}

/** The name under which torch.hub keeps the file: the last part of the URL. */
export function fileName({ url }: CatalogueEntry): string {
  return url.slice(url.lastIndexOf('/') + 1);
}

/** The first hex digits of the file's SHA-256: torch.hub's HASH_REGEX, `-([a-f0-9]*)\.`, on the file's name. */
export function hashPrefix(entry: CatalogueEntry): string {
  const prefix = /-([a-f0-9]+)\.[^.]*$/.exec(fileName(entry))?.[1];
  if (prefix === undefined) throw new TypeError(`${entry.url} names no hash`);
  return prefix;
}
