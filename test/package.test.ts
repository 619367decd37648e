import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('npm pack: the command, the models, the addons and their sources, and no more', () => {
  const json = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ files = [] } = {}] = JSON.parse(json) as { files: { path: string; mode: number }[] }[];
  const paths = files.map(({ path }) => path);

  const sources = ['native/src', 'native/resample'].flatMap((folder) =>
    readdirSync(`${root}/${folder}`).map((file) => `${folder}/${file}`),
  );
  const prebuilt = ['vgg_native.node', 'vgg_resample.node', 'vgg_native.json'].map(
    (file) => `native/prebuilt/linux-x64/${file}`,
  );
  const build = ['addon.cc', 'build.mjs', 'exports.map', 'kernels.txt'].map((file) => `native/${file}`);
  const required = [
    ...[
      'package.json',
      'README.md',
      'CHANGELOG.md',
      'LICENSE',
      'NOTICE',
      'dist/src/cli.js',
      'dist/src/engines/child.js',
    ],
    ...['models/fashion-vgg/manifest.json', 'models/fashion-vgg/fashion-vgg.pth'],
    ...build,
    ...sources,
    ...prebuilt.filter((path) => existsSync(`${root}/${path}`)),
  ];
  assert.deepEqual(
    required.filter((path) => !paths.includes(path)),
    [],
  );
  const allowed = new Set([...required, ...prebuilt]);
  assert.deepEqual(
    paths.filter((path) => !allowed.has(path) && !/^(?:dist\/src\/.*\.js|models\/.*)$/.test(path)),
    [],
  );
});
