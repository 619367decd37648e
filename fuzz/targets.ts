import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readCategories } from '../src/cli/categories-file.js';
import { optionsOf, parseConfig } from '../src/config.js';
import { encodeMessage, MessageReader } from '../src/engines/protocol.js';
import { readManifest } from '../src/model-registry/manifest.js';
import { recogniseCheckpoint } from '../src/model-registry/recognise.js';
import { type Verb, verbs } from '../src/options.js';
import { readHeader } from '../src/preprocessing/header.js';
import { jpegEnding } from '../src/preprocessing/jpeg.js';
import { pngEnding } from '../src/preprocessing/png.js';
import { decodeSmallPng } from '../src/preprocessing/small-png.js';
import { webpEnding } from '../src/preprocessing/webp.js';
import { readCheckpoint } from '../src/weights/checkpoint.js';
import { row, safetensorsFile } from '../test/weights/safetensors-builder.js';
import { checkpointBytes } from './checkpoints.js';
import { Finding, type Outcome, refusal } from './finding.js';
import { type InProcess, openInProcess } from './in-process.js';
import { openOverSocket } from './over-socket.js';
import { mutatePicture } from './pictures.js';
import type { Random } from './random.js';
import {
  connectionBytes,
  jsonRequest,
  multipartRequest,
  pictureRequest,
  type RawRequest,
  readRequest,
} from './requests.js';
import { argumentLines, categoriesText, frameBytes, manifestText } from './texts.js';

/** One way into the program, and what is sent along it. */
export interface Target {
  /** Of the files in test/corpus. */
  readonly extension: string;
  /** Its share of the time. */
  readonly share: number;
  /** What the first inputs are made of. */
  seeds(): Buffer[];
  /** @param pool the seeds, and inputs that reached something new */
  make(random: Random, pool: readonly Buffer[]): Buffer;
  /** Which of our modules tell by their coverage whether an input is new; empty: the shape of the outcome tells. */
  readonly coverage: readonly string[];
  open(): Promise<Opened>;
}

export interface Opened {
  /** How many inputs are given at a time. */
  readonly parallel: number;
  /** For each input what it came to, or the Finding that it is. */
  run(inputs: readonly Buffer[]): Promise<(Outcome | Finding)[]>;
  /** Of the process under test, where that is another one. */
  memoryBytes?(): Promise<number>;
  peakBytes?(): number;
  close(): Promise<void>;
}

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Of the pictures of the tests those that cost little, by their bytes. */
const mostSeedBytes = 80_000;

function pictures(): Buffer[] {
  return ['test/fixtures/kinds', 'test/fixtures/images', 'models/fashion-vgg/samples'].flatMap((folder) =>
    filesOf(folder, mostSeedBytes),
  );
}

function filesOf(folder: string, mostBytes: number): Buffer[] {
  const names = readdirSync(join(root, folder)).sort();
  return names
    .map((name) => join(root, folder, name))
    .filter((path) => statSync(path).size <= mostBytes)
    .map((path) => readFileSync(path));
}

let lentPictures: readonly Buffer[] | undefined;
/** To be put into bodies: the smaller ones. */
function smallPictures(): readonly Buffer[] {
  lentPictures ??= pictures().filter(({ length }) => length < 9000);
  return lentPictures;
}

export const targets = {
  pictures: {
    extension: 'bin',
    share: 4,
    seeds: pictures,
    make: (random, pool) => mutatePicture(random, random.pick(pool), pool),
    coverage: [],
    open: () => overApp((input) => readRequest(pictureRequest(input))),
  },
  headers: {
    extension: 'bin',
    share: 2,
    seeds: () => pictures().filter(({ length }) => length < 20_000),
    make: (random, pool) => mutatePicture(random, random.pick(pool), pool),
    coverage: ['src/preprocessing/'],
    open: () => direct(readPicture, ['ServiceError']),
  },
  multipart: {
    extension: 'http',
    share: 3,
    seeds: () => [],
    make: (random) => multipartRequest(random, smallPictures()),
    coverage: [],
    open: () => overApp(readRequest),
  },
  json: {
    extension: 'http',
    share: 2,
    seeds: () => [],
    make: (random) => jsonRequest(random, smallPictures()),
    coverage: [],
    open: () => overApp(readRequest),
  },
  socket: {
    extension: 'http',
    share: 5,
    seeds: () => [],
    make: (random, pool) => connectionBytes(random, smallPictures(), pool),
    coverage: [],
    open: overSocket,
  },
  checkpoints: {
    extension: 'bin',
    share: 4,
    seeds: () => [
      ...filesOf('test/fixtures/checkpoints', 110_000).filter(({ length }) => length > 20_000),
      safetensorsFile({ __metadata__: { format: 'pt' }, a: row([3, 4], 0, 48), b: row([2], 48, 56) }, Buffer.alloc(56)),
    ],
    make: checkpointBytes,
    coverage: ['src/weights/', 'src/vgg/', 'src/resnet/', 'src/model-registry/'],
    open: () =>
      withFile(
        async (path) => {
          const checkpoint = await readCheckpoint(path);
          const { size } = statSync(path);
          for (const { name, byteOffset, byteLength } of checkpoint.tensors) {
            const lies = byteOffset >= 0 && byteLength >= 0 && byteOffset + byteLength <= size;
            if (!lies) throw new Finding('a tensor that does not lie in its file', { cause: name });
          }
          recogniseCheckpoint(checkpoint);
        },
        ['CheckpointError', 'UnrecognisedError'],
      ),
  },
  manifests: {
    extension: 'json',
    share: 2,
    seeds: () => {
      const own = readFileSync(join(root, 'models/fashion-vgg/manifest.json'));
      const { network, ...rest } = JSON.parse(own.toString());
      const categories = Array.from({ length: 7 }, (_, at) => `class ${at}`);
      const built = ['vgg16_bn', 'resnet50'].map((builder) => ({
        ...rest,
        categories,
        network: { builder, classes: 7 },
        meta: {},
      }));
      return [
        own,
        ...[...built, { ...rest, network, precision: 'bf16' }].map((manifest) => Buffer.from(JSON.stringify(manifest))),
      ];
    },
    make: manifestText,
    coverage: ['src/model-registry/', 'src/network/', 'src/vgg/', 'src/resnet/'],
    open: () => withFile(readManifest, ['ManifestError']),
  },
  protocol: {
    extension: 'bin',
    share: 1,
    seeds: () =>
      [
        encodeMessage({ type: 'load', engine: 'native' }),
        encodeMessage({
          type: 'ready',
          info: { engine: 'native', version: '1', device: 'cpu', precision: 'fp32', threads: 1 },
        }),
        encodeMessage({ type: 'run', id: 1, n: 1, pixels: new Uint8Array(12) }),
        encodeMessage({ type: 'result', id: 1, computeMs: 1, logits: new Float32Array(3) }),
        encodeMessage({ type: 'failure', id: 0, message: 'why' }),
      ].map((parts) => Buffer.concat(parts)),
    make: frameBytes,
    coverage: ['src/engines/protocol'],
    open: () => direct(readFrames, ['ProtocolError']),
  },
  categories: {
    extension: 'txt',
    share: 1,
    seeds: () => [Buffer.from('a\nb\nc\n'), Buffer.from('["a","b","c"]'), Buffer.from('{"a":0,"b":1,"c":2}')],
    make: categoriesText,
    coverage: ['src/cli/categories-file'],
    open: () => withFile((path) => readCategories(path, 3), ['CategoriesError']),
  },
  options: {
    extension: 'txt',
    share: 1,
    seeds: () => [Buffer.from('')],
    make: (random, pool) =>
      random.once(8)
        ? random.pick(pool)
        : argumentLines(
            random,
            optionsOf('serve').map(({ flag }) => flag),
          ),
    coverage: ['src/config', 'src/option'],
    open: () =>
      direct(
        (input) => {
          const lines = input.toString().split('\n');
          for (const verb of Object.keys(verbs) as Verb[]) parseConfig(lines, {}, verb);
        },
        ['UsageError'],
      ),
  },
} satisfies Record<string, Target>;

export type TargetName = keyof typeof targets;

/** The way of a picture up to its pixels, without libvips. */
function readPicture(input: Buffer): void {
  const header = readHeader(input);
  ({ JPEG: jpegEnding, PNG: pngEnding, WebP: webpEnding })[header.format](input);
  if (header.format !== 'PNG') return;
  const picture = decodeSmallPng(input, header);
  if (picture && picture.pixels.length !== header.width * header.height * 3)
    throw new Finding('a PNG of another size than it says');
}

/** Whole, and in pieces: both must be read as the same. */
function readFrames(input: Buffer): void {
  const whole = new MessageReader(100_000).push(input);
  const reader = new MessageReader(100_000);
  const pieces: unknown[] = [];
  for (let at = 0; at < input.length; at += 5) pieces.push(...reader.push(input.subarray(at, at + 5)));
  if (pieces.length !== whole.length) throw new Finding('other messages when they come in pieces');
}

/** A function of this program's, called with the input. */
async function direct(read: (input: Buffer) => unknown, allowed: readonly string[]): Promise<Opened> {
  return {
    parallel: 1,
    run: async (inputs) => [await settled(() => read(inputs[0] ?? Buffer.alloc(0)), allowed)],
    close: async () => {},
  };
}

/** A function of this program's, called with the path of a file that holds the input. */
async function withFile(read: (path: string) => unknown, allowed: readonly string[]): Promise<Opened> {
  const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-fuzz-'));
  const path = join(folder, 'input');
  return {
    parallel: 1,
    run: async (inputs) => {
      writeFileSync(path, inputs[0] ?? Buffer.alloc(0));
      return [await settled(() => read(path), allowed)];
    },
    close: async () => rmSync(folder, { recursive: true }),
  };
}

async function settled(work: () => unknown, allowed: readonly string[]): Promise<Outcome | Finding> {
  try {
    await work();
    return { name: 'accepted', shape: 'accepted' };
  } catch (error) {
    return error instanceof Finding ? error : asFinding(() => refusal(error, allowed));
  }
}

function asFinding(work: () => Outcome): Outcome | Finding {
  try {
    return work();
  } catch (error) {
    if (error instanceof Finding) return error;
    throw error;
  }
}

async function overApp(requestOf: (input: Buffer) => RawRequest | undefined): Promise<Opened> {
  const app: InProcess = await openInProcess();
  return {
    parallel: 1,
    run: async (inputs) => {
      const request = requestOf(inputs[0] ?? Buffer.alloc(0));
      if (request === undefined) return [{ name: 'no request', shape: 'no request' }];
      return [
        await app
          .send(request)
          .catch((error: unknown) => (error instanceof Finding ? error : asFinding(() => refusal(error, [])))),
      ];
    },
    close: () => app.close(),
  };
}

async function overSocket(): Promise<Opened> {
  const server = await openOverSocket();
  return {
    parallel: 16,
    run: server.send,
    memoryBytes: server.memoryBytes,
    peakBytes: server.peakBytes,
    close: server.close,
  };
}
