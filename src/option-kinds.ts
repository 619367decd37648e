import { isIP } from 'node:net';

/** How text becomes a value. */
export interface Kind<T> {
  /** Stands for the value in help; empty when the flag alone is the value. */
  readonly placeholder: string;
  /** All values there are, where they can be listed. */
  readonly choices?: readonly string[];
  /** What is allowed, as the end of a sentence that begins with "give". */
  readonly allowed: string;
  /** `undefined`: not allowed. */
  parse(text: string): T | undefined;
  /** The inverse of `parse`. */
  show(value: T): string;
}

/** The largest delay of a Node timer, and a size that one buffer holds on every machine. */
export const int32Max = 2 ** 31 - 1;

export function text(placeholder: string): Kind<string> {
  return { placeholder, allowed: `a ${placeholder}`, parse: (seen) => seen || undefined, show: (value) => value };
}

/** An address of http or https. */
export function webAddress(placeholder: string): Kind<string> {
  return {
    placeholder,
    allowed: 'an address that begins with http:// or https://',
    parse: (seen) => (/^https?:\/\//i.test(seen) && URL.canParse(seen) ? seen : undefined),
    show: (value) => value,
  };
}

export function integer(placeholder: string, min: number, max: number): Kind<number> {
  return {
    placeholder,
    allowed: `a whole number from ${min} to ${max}`,
    parse: (seen) => within(/^\d+$/.test(seen) ? Number(seen) : Number.NaN, min, max),
    show: String,
  };
}

const bytesPerUnit = { b: 1, kb: 1e3, mb: 1e6, gb: 1e9, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30 } as const;

/** A number of bytes, in decimal or binary units, whole after rounding down. */
export function byteSize(placeholder: string): Kind<number> {
  return {
    placeholder,
    allowed: `bytes, or a number with kB, MB, GB, KiB, MiB or GiB, from 1 to ${int32Max} bytes`,
    parse(seen) {
      const [, digits, unit = 'b'] = /^(\d+(?:\.\d+)?) ?([kmg]?i?b)?$/i.exec(seen) ?? [];
      const factor = bytesPerUnit[unit.toLowerCase() as keyof typeof bytesPerUnit];
      return digits === undefined ? undefined : within(Math.floor(Number(digits) * factor), 1, int32Max);
    },
    show: (value) => (value % 1e6 === 0 ? `${value / 1e6}MB` : String(value)),
  };
}

function within(value: number, min: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined;
}

export function oneOf<const T extends string>(placeholder: string, choices: readonly T[]): Kind<T> {
  return {
    placeholder,
    choices,
    allowed: `one of ${choices.join(', ')}`,
    parse: (seen) => choices.find((value) => value === seen),
    show: (value) => value,
  };
}

export function boolean(): Kind<boolean> {
  return {
    placeholder: '',
    allowed: 'true, false, 1 or 0',
    parse: (seen) => (seen === 'true' || seen === '1' ? true : seen === 'false' || seen === '0' ? false : undefined),
    show: String,
  };
}

/** `auto`, `cpu`, `gpu`, or GPUs by their numbers: `gpu:0,1`. */
export function device(placeholder: string): Kind<'auto' | 'cpu' | 'gpu' | readonly number[]> {
  const words = ['auto', 'cpu', 'gpu'] as const;
  return {
    placeholder,
    allowed: 'auto, cpu, gpu, or GPUs by their numbers: gpu:0,1',
    parse(seen) {
      const [, list] = /^gpu:(\d{1,3}(?:,\d{1,3})*)$/.exec(seen) ?? [];
      if (list === undefined) return words.find((word) => word === seen);
      const numbers = list.split(',').map(Number);
      return new Set(numbers).size === numbers.length ? numbers : undefined;
    },
    show: (value) => (typeof value === 'string' ? value : `gpu:${value.join(',')}`),
  };
}

/** `HEIGHTxWIDTH`. */
export function heightByWidth(placeholder: string, max: number): Kind<readonly [number, number]> {
  return {
    placeholder,
    allowed: `two whole numbers from 1 to ${max} with an x between, height first`,
    parse(seen) {
      const [, height, width] = /^(\d+)x(\d+)$/.exec(seen) ?? [];
      const extents = [within(Number(height), 1, max), within(Number(width), 1, max)] as const;
      return extents[0] === undefined || extents[1] === undefined ? undefined : [extents[0], extents[1]];
    },
    show: ([height, width]) => `${height}x${width}`,
  };
}

type ThreeChannels = readonly [number, number, number];

/** How a picture becomes the network's input: sizes in pixels, mean and std for each channel on the 0..1 scale. */
export interface TransformsValue {
  readonly resize: number;
  readonly crop: number;
  readonly mean: ThreeChannels;
  readonly std: ThreeChannels;
}

/** torchvision's preset for ImageNet (torchvision.transforms._presets.ImageClassification). */
export const imagenetTransforms: TransformsValue = {
  resize: 256,
  crop: 224,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};

/** `imagenet`, `resize,crop` with ImageNet's mean and std, or all eight numbers. */
export function transforms(placeholder: string): Kind<TransformsValue> {
  return {
    placeholder,
    allowed:
      '"imagenet", or resize,crop in pixels, or resize,crop and the mean and the std of three channels: 2 or 8 numbers with commas between',
    parse(seen) {
      if (seen === 'imagenet') return imagenetTransforms;
      const numbers = seen.split(',').map((one) => (/^ *\d+(\.\d+)? *$/.test(one) ? Number(one) : Number.NaN));
      const { mean, std } = imagenetTransforms;
      const [resize = 0, crop = 0, ...channels] = numbers.length === 2 ? [...numbers, ...mean, ...std] : numbers;
      if (channels.length !== 6 || numbers.some(Number.isNaN) || !isPixels(resize) || !isPixels(crop)) return undefined;
      const [r = 0, g = 0, b = 0, stdR = 0, stdG = 0, stdB = 0] = channels;
      if (Math.min(stdR, stdG, stdB) <= 0) return undefined;
      return { resize, crop, mean: [r, g, b], std: [stdR, stdG, stdB] };
    },
    show: ({ resize, crop, mean, std }) => [resize, crop, ...mean, ...std].join(','),
  };
}

function isPixels(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 65_536;
}

/** So many requests in each window. */
export interface RateValue {
  readonly max: number;
  readonly windowMs: number;
  /** As it was given, in words: "100 requests a second". */
  readonly text: string;
}

const rateUnits = {
  s: { ms: 1000, name: 'second' },
  m: { ms: 60_000, name: 'minute' },
  h: { ms: 3_600_000, name: 'hour' },
} as const;

/** `100/s`, `6000/m`, `100000/h`. */
export function rate(placeholder: string): Kind<RateValue> {
  return {
    placeholder,
    allowed: 'a whole number from 1 to 1000000000, a slash, and s, m or h: 100/s, 6000/m',
    parse(seen) {
      const [, digits = '', unit = ''] = /^(\d+)\/([smh])$/.exec(seen) ?? [];
      const max = within(Number(digits), 1, 1e9);
      if (max === undefined) return undefined;
      const { ms, name } = rateUnits[unit as keyof typeof rateUnits];
      return {
        max,
        windowMs: ms,
        text: `${max} ${max === 1 ? 'request' : 'requests'} ${name === 'hour' ? 'an' : 'a'} ${name}`,
      };
    },
    show: ({ max, windowMs }) => {
      const [unit] = Object.entries(rateUnits).find(([, { ms }]) => ms === windowMs) ?? [];
      return `${max}/${unit}`;
    },
  };
}

/** Addresses and networks: `10.0.0.0/8,fd00::/8,192.0.2.7`. */
export function networks(placeholder: string): Kind<readonly string[]> {
  return {
    placeholder,
    allowed:
      'addresses or networks with commas between: 10.0.0.0/8,fd00::/8. Neither a number of proxies nor all addresses: a ' +
      'client that reaches the port by another way would then choose its own address',
    parse(seen) {
      const all = seen.split(',').map((one) => one.trim());
      return all.every(isNetwork) ? all : undefined;
    },
    show: (value) => value.join(','),
  };
}

function isNetwork(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/');
  // A zone (fe80::1%eth0) names an interface of this machine, and no network.
  const version = address.includes('%') ? 0 : isIP(address);
  if (version === 0 || more.length > 0) return false;
  return (
    bits === undefined || (/^\d{1,3}$/.test(bits) && within(Number(bits), 1, version === 4 ? 32 : 128) !== undefined)
  );
}

/** Scheme, host and port of a page, as a browser writes it into the header Origin; or `*` for all. */
export function origin(placeholder: string): Kind<string> {
  return {
    placeholder,
    allowed:
      'scheme and host, and the port if it is not the usual one, in lower case: https://demo.example.org; or * for all',
    parse: (seen) =>
      seen === '*' || (/^https?:[^*]+$/.test(seen) && URL.canParse(seen) && new URL(seen).origin === seen)
        ? seen
        : undefined,
    show: (value) => value,
  };
}
