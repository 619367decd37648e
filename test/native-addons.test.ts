import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { addonFile } from '../src/addon-file.js';
import { readElf } from './elf.js';

const native = fileURLToPath(new URL('../../native', import.meta.url));
const script = join(native, 'build.mjs');
const names = ['vgg_native', 'vgg_resample'] as const;

/** Those of a build on this machine: what Node itself needs, by whatever name the architecture's loader has. */
const own = /^(?:libstdc\+\+\.so\.6|libgcc_s\.so\.1|lib(?:c|m|pthread|dl)\.so\.\d+|ld-linux.*\.so\.\d+)$/;
/** Those of a prebuilt one, on whatever Linux with glibc. */
const everywhere = /^(?:lib(?:c|m|pthread)\.so\.6|libpthread\.so\.0|ld-linux-x86-64\.so\.2)$/;
/** Node 20's. */
const oldestGlibc = [2, 28] as const;

const kinds = [
  { kind: 'build', folder: join(native, 'build'), libraries: own, without: 'not built (native/build.mjs says why)' },
  {
    kind: 'prebuilt',
    folder: join(native, 'prebuilt/linux-x64'),
    libraries: everywhere,
    without: 'not made: npm run build:prebuilt',
  },
];

for (const { kind, folder, libraries, without } of kinds) {
  for (const name of names) {
    const path = join(folder, `${name}.node`);
    test(`${kind}, ${name}: needs nothing but what Node has, and shows nothing but Node-API's functions`, (t) => {
      if (!existsSync(path)) return t.skip(without);
      const { needed, searched, symbols } = readElf(path);
      assert.ok(needed.length > 0);
      assert.deepEqual(
        needed.filter((library) => !libraries.test(library)),
        [],
      );
      assert.deepEqual(searched, []);
      const exported = symbols.filter(({ isDefined }) => isDefined).map((symbol) => symbol.name);
      assert.deepEqual(exported.sort(), ['napi_register_module_v1', 'node_api_module_get_api_version_v1']);
    });
  }
}

for (const name of names) {
  const path = join(native, 'prebuilt/linux-x64', `${name}.node`);
  test(`prebuilt, ${name}: runs with glibc ${oldestGlibc.join('.')}`, (t) => {
    if (!existsSync(path)) return t.skip('not made: npm run build:prebuilt');
    const { versions } = readElf(path);
    assert.ok(versions.length > 0);
    const tooNew = versions.filter((version) => {
      const [, major, minor] = /^GLIBC_(\d+)\.(\d+)(?:\.\d+)?$/.exec(version) ?? [];
      return major === undefined || Number(major) !== oldestGlibc[0] || Number(minor) > oldestGlibc[1];
    });
    assert.deepEqual(tooNew, []);
  });
}

test('objects of kernels hold the table and nothing that a linker could take for another instruction set', (t) => {
  const folder = join(native, 'build');
  const objects = existsSync(folder) ? readdirSync(folder).filter((file) => /-\w*kernels-\w+-\w+\.o$/.test(file)) : [];
  if (objects.length === 0) return t.skip('not built');
  for (const object of objects) {
    const { symbols } = readElf(join(folder, object));
    const defined = symbols.filter(({ isDefined }) => isDefined);
    assert.ok(defined.length > 0, object);
    for (const { name, isWeak } of defined) {
      assert.ok(!isWeak, `${object}: ${name} is weak`);
      assert.match(name, /^_ZN3vgg\d+\w*_kernelsE$/, object);
    }
  }
});

test('addonFile(): what was built on this machine, else what came with the package', () => {
  const candidates = [
    join(native, 'build/vgg_native.node'),
    join(native, 'prebuilt', `${process.platform}-${process.arch}`, 'vgg_native.node'),
  ];
  assert.equal(addonFile('vgg_native'), candidates.find(existsSync));
});

/** Runs the build with a compiler that only writes down its arguments. */
function buildWith(t: { after(done: () => void): void }, env: NodeJS.ProcessEnv) {
  const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-build-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const program = join(folder, 'compiler.mjs');
  const calls = join(folder, 'calls');
  writeFileSync(
    program,
    `import { appendFileSync, writeFileSync } from 'node:fs';
     const args = process.argv.slice(2);
     if (args.includes('--version')) console.log('a compiler, 1.0');
     else appendFileSync(${JSON.stringify(calls)}, JSON.stringify(args) + '\\n');
     const output = args[args.indexOf('-o') + 1];
     if (args.includes('-o')) writeFileSync(output, '');`,
  );
  const { stderr, status } = spawnSync(process.execPath, [script, '--into', join(folder, 'into')], {
    env: { PATH: process.env.PATH, CI: '', CXX: `${process.execPath} ${program}`, ...env },
    encoding: 'utf8',
  });
  const lines = existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : [];
  return { stderr, status, calls: lines.map((line) => JSON.parse(line) as string[]) };
}

test('native/build.mjs: flags of the environment do not reach the compiler', (t) => {
  const foreign = '-march=native -DFOREIGN';
  const { calls, stderr } = buildWith(t, {
    CXXFLAGS: foreign,
    CPPFLAGS: foreign,
    CFLAGS: foreign,
    LDFLAGS: '-lforeign',
  });
  if (stderr.includes('there are none of its kernels')) return t.skip(stderr);
  assert.ok(calls.length >= 10, stderr);
  assert.deepEqual(
    calls.flat().filter((arg) => /^-m(?:arch|tune|cpu)|foreign/i.test(arg)),
    [],
  );
});

test('native/build.mjs: instruction sets of one processor are asked for in kernels alone', (t) => {
  const { calls, stderr } = buildWith(t, {});
  if (stderr.includes('there are none of its kernels')) return t.skip(stderr);
  const special = calls.filter((args) => args.includes('-c') && args.some((arg) => /^-m/.test(arg)));
  if (process.arch === 'x64') assert.ok(special.length >= 4);
  for (const args of special) {
    assert.match(args[args.indexOf('-c') + 1] ?? '', /kernels\.cc$/);
    assert.ok(args.some((arg) => arg.startsWith('-DVGG_ISA=')));
  }
});

test('native/build.mjs: what does not compile is an error in CI, and a word about it elsewhere', (t) => {
  const elsewhere = buildWith(t, { CI: '' });
  if (elsewhere.stderr.includes('there are none of its kernels')) return t.skip(elsewhere.stderr);
  const said =
    /native engine: it does not compile with a compiler, 1\.0: (?:the service runs on onnxruntime|the prebuilt one serves)\n$/;
  assert.match(elsewhere.stderr, said);
  assert.equal(elsewhere.status, 0);
  const inCi = buildWith(t, { CI: 'true' });
  assert.match(inCi.stderr, said);
  assert.equal(inCi.status, 1);
});
