import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import sharp from 'sharp';

const cliPath = fileURLToPath(new URL('../../src/cli.js', import.meta.url));

export const fixturesDir = fileURLToPath(new URL('../../../test/fixtures/', import.meta.url));

/**
 * The command as a child process, not on a terminal, with none of this machine's settings for it.
 * @param cli another copy of it
 */
export function start(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  input = '',
  cli: string = cliPath,
): ChildProcess {
  const kept = { PATH: process.env.PATH, HOME: process.env.HOME };
  const child = spawn(process.execPath, [cli, ...args], { env: { ...kept, ...env }, stdio: 'pipe' });
  child.stdin.on('error', () => {}).end(input);
  return child;
}

/** @param input what stdin has */
export async function run(args: readonly string[], env?: NodeJS.ProcessEnv, input?: string, cli?: string) {
  const child = start(args, env, input, cli);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout as NonNullable<typeof child.stdout>),
    text(child.stderr as NonNullable<typeof child.stderr>),
    once(child, 'close'),
  ]);
  return { code: code as number | null, stdout, stderr };
}

/** Settings under which the command's process runs a module before the command; the module is put into `dir`. */
export async function preloaded(dir: string, module: string): Promise<NodeJS.ProcessEnv> {
  const path = join(dir, 'preload.mjs');
  await writeFile(path, module);
  return { NODE_OPTIONS: `--import ${pathToFileURL(path).href}` };
}

/** A folder that goes when the test ends. */
export async function temporaryDir(t: TestContext | { after(done: () => Promise<void>): void }): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'vgg-serve-test-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

export const categories = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
] as const;

/** Three 224 x 224 pictures for which PyTorch's float64 logits of the network small_a are known, as PNG. */
export async function smallPictures(): Promise<{ png: Buffer; logits: readonly number[] }[]> {
  const checkpoints = join(fixturesDir, 'checkpoints');
  const networks: { logits_float64_reference: number[][] }[] = JSON.parse(
    await readFile(join(checkpoints, 'small_networks.json'), 'utf8'),
  );
  const pixels = await readFile(join(checkpoints, 'small_a.pixels.u8'));
  const bytesEach = 224 * 224 * 3;
  return await Promise.all(
    (networks[0]?.logits_float64_reference ?? []).map(async (logits, at) => {
      const raw = pixels.subarray(at * bytesEach, (at + 1) * bytesEach);
      const png = await sharp(raw, { raw: { width: 224, height: 224, channels: 3 } })
        .png()
        .toBuffer();
      return { png, logits };
    }),
  );
}

/** Writes a manifest for the network small_a with ten categories, and answers its path. */
export async function writeSmallModel(dir: string): Promise<string> {
  const path = join(dir, 'small.json');
  const manifest = {
    name: 'small',
    weights: { name: 'SMALL_A', file: join(fixturesDir, 'checkpoints', 'small_a.pth') },
    network: {
      cfg: [8, 'M', 16, 'M', 16, 16, 'M', 24, 24, 'M', 24, 24, 'M'],
      batch_norm: false,
      pool: [7, 7],
      hidden: 48,
      classes: 10,
    },
    transforms: { resize: 224, crop: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
    categories,
  };
  await writeFile(path, JSON.stringify(manifest));
  return path;
}

/** Writes files below `dir` and makes the folders that they need. */
export async function writeTree(dir: string, files: Readonly<Record<string, Buffer | string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
}

/** What softmax makes of float64 logits: the index of the likeliest class and its probability. */
export function likeliest(logits: readonly number[]): { index: number; probability: number } {
  const largest = Math.max(...logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return { index: logits.indexOf(largest), probability: 1 / sum };
}
