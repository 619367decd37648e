import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isAddonBuilt } from '../../src/engines/native/addon.js';
import { run } from '../cli/command.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const addon = 'native/build/vgg_native.node';

/** A copy of the built package, whose addon is the only thing that differs. */
const copy = mkdtempSync(join(tmpdir(), 'vgg-serve-broken-'));
after(() => rmSync(copy, { recursive: true }));
cpSync(join(root, 'dist/src'), join(copy, 'dist/src'), { recursive: true });
cpSync(join(root, 'package.json'), join(copy, 'package.json'));
for (const name of ['node_modules', 'models']) symlinkSync(join(root, name), join(copy, name));
mkdirSync(join(copy, 'native/build'), { recursive: true });
const cli = join(copy, 'dist/src/cli.js');
const picture = join(root, 'models/fashion-vgg/samples/bag.png');

interface Line {
  readonly msg: string;
  readonly level: number;
  readonly engine?: string;
  readonly reason?: string;
  readonly err?: { readonly message: string };
}

/** The lines of a server's log until its model is ready or has failed. */
async function serve(t: TestContext, ...options: string[]): Promise<Line[]> {
  const child = spawn(process.execPath, [cli, 'serve', '--port', '0', ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill());
  const lines: Line[] = [];
  for await (const text of createInterface(child.stdout)) {
    const line = JSON.parse(text) as Line;
    lines.push(line);
    if (line.msg === 'model ready' || line.msg === 'model not loaded') return lines;
  }
  throw new Error('the server ended before its model was ready');
}

const advice = `Build it on this machine (node ${join(copy, 'native/build.mjs')}), or take --engine onnxruntime.`;
const warn = 40;

const broken: readonly { what: string; skip: string | false; bytes: () => Buffer; reason: RegExp }[] = [
  { what: 'is no library', skip: false, bytes: () => Buffer.from('not a library\n'), reason: /file too short|invalid/ },
  {
    // Its pages are mapped before they are found missing: SIGBUS, which no process survives.
    what: 'is cut off',
    skip: isAddonBuilt() ? false : 'its addon is not built',
    bytes: () => readFileSync(join(root, addon)).subarray(0, 40_000),
    reason: /its process ended \(killed by SIGBUS\)|cannot be loaded: .*vgg_native\.node/,
  },
  {
    what: 'is the library of something else',
    skip: process.platform === 'linux' ? false : 'this library is of Linux',
    bytes: () => readFileSync(otherLibrary()),
    reason: /cannot be loaded: /,
  },
];

/** A library of this machine that is no addon of Node. */
function otherLibrary(): string {
  const maps = readFileSync('/proc/self/maps', 'utf8');
  const path = /\/\S*libm\.so\S*/.exec(maps)?.[0];
  assert.ok(path !== undefined);
  return path;
}

for (const { what, skip, bytes, reason } of broken) {
  describe(`an addon that ${what}`, { skip }, () => {
    test('auto: onnxruntime stands in, with a warning that says why and what to do', async (t) => {
      writeFileSync(join(copy, addon), bytes());
      const lines = await serve(t);
      const [warning, ...more] = lines.filter(({ level }) => level >= warn);
      assert.deepEqual(more, []);
      assert.equal(warning?.msg, 'native engine not loaded, onnxruntime stands in');
      assert.match(warning?.reason ?? '', reason);
      assert.ok(warning?.reason?.endsWith(advice), warning?.reason);
      const chosen = lines.filter(({ msg }) => msg === 'engine chosen').map(({ engine }) => engine);
      assert.deepEqual(chosen, ['native', 'onnxruntime']);
      assert.equal(lines.at(-1)?.engine, 'onnxruntime');
    });

    for (const options of [
      ['--engine', 'native'],
      ['--precision', 'bf16'],
      ['--isa', 'baseline'],
    ]) {
      test(`${options.join(' ')}: the model fails with the reason`, async (t) => {
        writeFileSync(join(copy, addon), bytes());
        const failed = (await serve(t, ...options)).at(-1);
        assert.equal(failed?.msg, 'model not loaded');
        assert.match(failed?.err?.message ?? '', reason);
        assert.ok(failed?.err?.message.includes(advice), failed?.err?.message);
      });
    }
  });
}

test('vgg-serve classify with a broken addon: the answer on stdout, the warning on stderr', async () => {
  writeFileSync(join(copy, addon), 'not a library\n');
  const { code, stdout, stderr } = await run(['classify', '--top-k', '1', picture], {}, '', cli);
  assert.deepEqual([code, stdout], [0, 'Bag: 91.9%\n']);
  assert.match(stderr, /^vgg-serve: The native engine cannot be loaded: .* Until then onnxruntime stands in\.\n$/s);
});
