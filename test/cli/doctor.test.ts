import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkFolder, checkNode } from '../../src/cli/doctor-machine.js';
import { isAddonBuilt } from '../../src/engines/native/addon.js';
import { preloaded, run, temporaryDir, writeTree } from './command.js';

test('vgg-serve doctor', async (t) => {
  const dir = await temporaryDir(t);
  const env = { XDG_CACHE_HOME: dir };
  const names = ['node', 'cpus', 'memory', 'engine', 'gpu', 'images', 'cache', 'weights', 'model', 'answer'];

  await t.test('where all is well: ok before each check, and 0', async () => {
    const { code, stdout, stderr } = await run(['doctor', '--model', 'vgg16'], env);
    const lines = stdout.trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => line.split(/\s+/, 2).join(' ')),
      names.map((name) => `ok ${name}`),
    );
    assert.match(
      lines[8] ?? '',
      /vgg16-397923af\.pth is not here; the first start fetches it \(553\.4 MB\), or "vgg-serve pull vgg16"$/,
    );
    assert.match(lines[9] ?? '', /fashion-vgg finds the Ankle boot in its sample picture, 91\.9%, in \d+\.\d ms$/);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  });

  await t.test('what the native engine can do here, or why it is not there', { skip: !isAddonBuilt() }, async () => {
    const { stdout } = await run(['doctor'], env);
    assert.match(stdout, /^ok +engine +native, CPU: fp32\b.*; .*\bbf16\b.*; .*\bbf16-classifier\b.*; onnxruntime \d/m);
  });

  await t.test('a precision that does not run, and one that there is not: why, and 1', async () => {
    const models = ['resnet50@bf16', 'vgg16@bf-16'];
    const { code, stdout } = await run(['doctor', ...models.flatMap((model) => ['--model', model])], env);
    assert.match(stdout, /^failed +model +resnet50@bf16: precision bf16 does not run here: .*conv1 is a 7 x 7 .*$/m);
    assert.match(stdout, /^failed +model +vgg16@bf-16: there is no precision "bf-16" \(did you mean vgg16@bf16\?\): /m);
    assert.equal(code, 1);
  });

  await t.test(
    '--json where the cache cannot be made, a model is missing and a setting is wrong: says what to do, and 1',
    async () => {
      await writeTree(dir, { file: '' });
      const broken = {
        XDG_CACHE_HOME: join(dir, 'file'),
        VGG_SERVE_MODEL: 'fashion-vgg, vgg61',
        VGG_SERVE_TOP_K: 'all',
      };
      const { code, stdout } = await run(['doctor', '--json'], broken);
      const { ok, checks } = JSON.parse(stdout) as {
        ok: boolean;
        checks: { name: string; ok: boolean; seen: string; advice?: string }[];
      };
      const failed = checks.filter((check) => !check.ok);
      assert.deepEqual(
        failed.map(({ name }) => name),
        ['cache', 'weights', 'model', 'answer'],
      );
      assert.ok(failed.every(({ advice }) => advice !== undefined));
      assert.match(failed[2]?.seen ?? '', /vgg61.*did you mean vgg16\?|vgg61.*did you mean vgg/);
      assert.match(failed[3]?.seen ?? '', /^VGG_SERVE_TOP_K: "all" is not allowed/);
      assert.deepEqual({ code, ok }, { code: 1, ok: false });
    },
  );

  await t.test('colours: on a terminal, but not with NO_COLOR', async () => {
    const green = '\u001b[32mok\u001b[39m';
    const onTerminal = `import { WriteStream } from 'node:tty';
      Object.assign(process.stdout, { isTTY: true, getColorDepth: WriteStream.prototype.getColorDepth });`;
    const terminal = { ...env, ...(await preloaded(dir, onTerminal)), TERM: 'xterm-256color' };
    assert.ok((await run(['doctor'], terminal)).stdout.startsWith(green));
    assert.ok((await run(['doctor'], { ...terminal, NO_COLOR: '1' })).stdout.startsWith('ok '));
  });
});

test('checkNode: the bounds of package.json', () => {
  const range = '>=20.19 <23';
  for (const version of ['20.19.0', '20.20.2', '21.0.0', '22.99.1'])
    assert.equal(checkNode(version, range).ok, true, version);
  for (const version of ['18.20.0', '20.18.9', '23.0.0', '24.1.0']) {
    const { ok, advice } = checkNode(version, range);
    assert.deepEqual([ok, advice], [false, 'Install a Node >=20.19 <23, the newest of them at best.'], version);
  }
});

test('checkFolder: makes nothing, and names what stands in the way', async (t) => {
  const dir = await temporaryDir(t);
  await writeTree(dir, { file: '' });
  const { ok, seen } = await checkFolder('cache', join(dir, 'a/b'), 'set --cache-dir');
  assert.equal(ok, true);
  assert.match(seen, /a\/b, which will be made; \d+\.\d GB free$/);
  assert.equal(
    (await checkFolder('cache', join(dir, 'a'), 'set --cache-dir')).seen.includes('which will be made'),
    true,
  );
  const { advice, ...wrong } = await checkFolder('cache', join(dir, 'file'), 'set --cache-dir');
  assert.deepEqual(wrong, {
    name: 'cache',
    ok: false,
    seen: `${join(dir, 'file')} cannot be written: it is no folder`,
  });
  assert.match(advice ?? '', /set --cache-dir to a folder that can be written\.$/);
});
