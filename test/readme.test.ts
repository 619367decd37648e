import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Service, startService } from '../bench/service.js';
import { writeStandIn } from '../bench/stand-in.js';
import { temporaryDir } from './cli/command.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const cli = fileURLToPath(new URL('../src/cli.js', import.meta.url));

interface Block {
  readonly language: string;
  readonly text: string;
}

/** A command of README, and what README shows of its output in the block below it. */
interface Example {
  readonly command: string;
  readonly shown: Block | undefined;
}

test('README: its commands answer what it shows', async (t) => {
  const examples = examplesOf(await readFile(join(root, 'README.md'), 'utf8'));
  const dir = await temporaryDir(t);
  await writeOwnNetwork(dir);
  const service = await startService(['--log-level', 'silent']);
  t.after(() => service.stop());
  const mirror = await startMirror(dir);
  t.after(() => mirror.close());
  const env = { TORCH_HOME: join(dir, 'torch'), VGG_SERVE_WEIGHTS_URL: mirror.url };

  for (const { command, shown } of examples) {
    const tool = /^(curl|base64|vgg-serve)\b/.exec(command)?.[1];
    if (tool === undefined) continue; // npm and docker: what they start is what this test is part of.
    const missing = ['bash', 'curl', 'base64', 'sed'].find((name) => spawnSync('which', [name]).status !== 0);
    await t.test(command, { skip: missing !== undefined && `there is no ${missing} here` }, async () => {
      const stdout = await runInBash(command, service, dir, env);
      if (shown?.language === 'json') assertShows(JSON.parse(stdout), JSON.parse(shown.text));
      else if (shown?.language === 'text') assert.equal(stdout, shown.text);
      else if (tool === 'vgg-serve') assert.notEqual(stdout, '');
      else assert.ok(JSON.parse(stdout));
    });
  }
  assert.deepEqual(mirror.asked, ['/vgg16-397923af.pth'], 'the weights are fetched once');
});

test('README: every npm script that it names is there', async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: object };
  const named = new Set([...readme.matchAll(/npm (?:run )?(start|test|build|\w+:[\w-]+)/g)].map(([, name]) => name));
  assert.ok(named.size >= 4);
  for (const name of named) assert.ok(Object.hasOwn(scripts, name as string), `npm run ${name}`);
});

function examplesOf(readme: string): Example[] {
  const blocks = [...readme.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    text,
  }));
  return blocks.flatMap((block, at) => {
    const next = blocks[at + 1];
    const shown = next?.language === 'sh' ? undefined : next;
    return block.language === 'sh' ? [{ command: block.text.trim(), shown }] : [];
  });
}

/** A checkpoint and its classes under the names that README gives them, and what README names of the repository. */
async function writeOwnNetwork(dir: string): Promise<void> {
  await copyFile(join(root, 'test/fixtures/checkpoints/small_a_bn.pth'), join(dir, 'my-vgg.pth'));
  await writeFile(join(dir, 'classes.txt'), Array.from({ length: 10 }, (_, index) => `class ${index}\n`).join(''));
  for (const name of ['README.md', 'models', 'test']) await symlink(join(root, name), join(dir, name));
}

/** Serves the stand-in for torchvision's VGG-16 as a mirror does. */
async function startMirror(dir: string): Promise<{ url: string; asked: string[]; close(): void }> {
  const folder = join(dir, 'mirror');
  await mkdir(folder);
  const file = await writeStandIn(folder);
  const { size } = await stat(file);
  const asked: string[] = [];
  const server = createServer(({ url = '' }, response) => {
    asked.push(url);
    if (url !== `/${basename(file)}`) response.writeHead(404).end();
    else createReadStream(file).pipe(response.writeHead(200, { 'content-length': size }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, asked, close: () => server.close() };
}

async function runInBash(command: string, { url }: Service, cwd: string, env: NodeJS.ProcessEnv): Promise<string> {
  const script = `vgg-serve() { '${process.execPath}' '${cli}' "$@"; }\n${command.replaceAll('localhost:8080', new URL(url).host)}`;
  const child = spawn('bash', ['-c', script], { cwd, env: { ...process.env, ...env } });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  assert.equal(code, 0, stderr);
  return stdout;
}

/** The same fields; times differ from run to run, README rounds probabilities, and "..." stands for any text. */
function assertShows(seen: unknown, shown: unknown, place = ''): void {
  if (shown === '...') {
    assert.equal(typeof seen, 'string', place);
  } else if (place.startsWith('.timings_ms.')) {
    assert.ok(typeof seen === 'number' && seen >= 0, place);
  } else if (place.endsWith('.probability')) {
    assert.equal(Number(seen).toFixed(4), Number(shown).toFixed(4), place);
  } else if (typeof shown === 'object' && shown !== null) {
    assert.deepEqual(Object.keys(seen as object), Object.keys(shown), place);
    for (const [key, value] of Object.entries(shown)) assertShows((seen as never)[key], value, `${place}.${key}`);
  } else {
    assert.equal(seen, shown, place);
  }
}
