/**
 * Makes the real @tensorflow/tfjs-node-gpu, on TensorFlow's CPU library, in a folder of its own: the package's install
 * script would fetch a prebuilt library from a place that is not a package registry. TensorFlow comes from its Python
 * wheel, which needs symbols of CPython when it is loaded and none of them when it runs: a small library defines them.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { tensorFlowPackage } from '../../src/engines/tfjs/tensorflow.js';

const packageVersion = '4.22.0';
/** The release that this version of the package is made for: LIBTENSORFLOW_VERSION in its scripts. */
const wheel = {
  name: 'tensorflow-cpu',
  version: '2.9.1',
  sha256: '6666ddeae45e1f41da788cb4bdea3435aba16edb0bc17b7ac00631c7c9eb052e',
  tags: ['--implementation', 'cp', '--python-version', '310', '--abi', 'cp310', '--platform', 'manylinux2014_x86_64'],
};
const nodeApi = 8;

export type Installed = { readonly modules: string } | { readonly missing: string };

/** The folder of modules in which the package works, or what this machine lacks for it. */
export function installTensorFlow(): Installed {
  const missing = whatIsMissing();
  if (missing !== undefined) return { missing };
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'vgg-serve', 'tfjs');
  const folder = join(cache, `${packageVersion}-${wheel.version}`);
  const modules = join(folder, 'node_modules');
  if (existsSync(folder)) return { modules };
  const making = join(cache, `making-${process.pid}`);
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making, { recursive: true });
  try {
    make(making);
    renameSync(making, folder);
    return { modules };
  } catch (error) {
    const { message, stderr } = error as Error & { stderr?: string };
    return { missing: `it could not be installed: ${stderr?.trim() || message}` };
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}

function whatIsMissing(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the wheel is for Linux on x86-64';
  const programs: [string, string[]][] = [
    ['g++', ['--version']],
    ['nm', ['--version']],
    ['python3', ['-m', 'pip', '--version']],
  ];
  for (const [program, args] of programs) {
    try {
      run(program, args);
    } catch {
      return `${[program, ...args.slice(0, -1)].join(' ')} is not here`;
    }
  }
  return undefined;
}

function make(folder: string): void {
  say(`installing ${tensorFlowPackage} ${packageVersion} without its scripts`);
  writeFileSync(join(folder, 'package.json'), '{"private":true}');
  const npmFlags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  run('npm', ['install', ...npmFlags, `${tensorFlowPackage}@${packageVersion}`], folder);

  say(`fetching ${wheel.name} ${wheel.version} (198 MB)`);
  const unpacked = join(folder, 'unpacked');
  unpack(fetchWheel(folder), unpacked);

  say('compiling its addon');
  const home = join(folder, 'node_modules', tensorFlowPackage);
  const libraries = join(home, 'deps', 'lib');
  mkdirSync(libraries, { recursive: true });
  for (const name of ['libtensorflow_framework.so.2', 'python/_pywrap_tensorflow_internal.so']) {
    copyFileSync(join(unpacked, 'tensorflow', name), join(libraries, name.replace('python/', '')));
  }
  makeLibTensorFlow(folder, libraries);
  compileAddon(home, libraries, join(unpacked, 'tensorflow', 'include'));
  rmSync(unpacked, { recursive: true });
}

function fetchWheel(folder: string): string {
  const flags = ['--no-deps', '--only-binary=:all:', '--no-cache-dir', '--quiet', '--disable-pip-version-check'];
  const what = `${wheel.name}==${wheel.version}`;
  run('python3', ['-m', 'pip', 'download', ...flags, ...wheel.tags, '--dest', folder, what]);
  const file = readdirSync(folder).find((name) => name.endsWith('.whl')) ?? 'no wheel';
  const path = join(folder, file);
  const seen = createHash('sha256').update(readFileSync(path)).digest('hex');
  if (seen !== wheel.sha256) throw new Error(`The sha256 of ${file} is ${seen}, not ${wheel.sha256}.`);
  return path;
}

function unpack(path: string, to: string): void {
  run('python3', ['-m', 'zipfile', '-e', path, to]);
  rmSync(path);
}

/** libtensorflow.so.2: it pulls in the wheel's library, and has what that wants of CPython. */
function makeLibTensorFlow(folder: string, libraries: string): void {
  const undefinedSymbols = run('nm', ['-D', '--undefined-only', join(libraries, '_pywrap_tensorflow_internal.so')]);
  const names = [...undefinedSymbols.matchAll(/ U (_?Py\w+)$/gm)].map(([, name]) => name ?? '');
  const source = [
    '#include <stdlib.h>',
    'static char nothing[1024];',
    ...names.map((name) => {
      if (name.startsWith('PyExc_')) return `void *${name} = nothing;`;
      if (/_Type$|^_Py_.*Struct$/.test(name)) return `char ${name}[1024] __attribute__((aligned(16)));`;
      // TensorFlow asks it, and does without Python when there is none.
      if (name === 'Py_IsInitialized') return `int ${name}(void) { return 0; }`;
      return `void ${name}(void) { abort(); }`;
    }),
  ];
  const path = join(folder, 'cpython.c');
  writeFileSync(path, source.join('\n'));
  const link = ['-Wl,-soname,libtensorflow.so.2', '-Wl,-rpath,$ORIGIN', '-Wl,--no-as-needed', `-L${libraries}`];
  const flags = [
    '-x',
    'c',
    '-shared',
    '-fPIC',
    '-w',
    '-fno-builtin',
    path,
    '-o',
    join(libraries, 'libtensorflow.so.2'),
  ];
  run('gcc', [...flags, ...link, '-l:_pywrap_tensorflow_internal.so', '-Wl,--allow-shlib-undefined']);
  rmSync(path);
}

function compileAddon(home: string, libraries: string, include: string): void {
  const addon = join(home, 'lib', `napi-v${nodeApi}`, 'tfjs_binding.node');
  mkdirSync(dirname(addon), { recursive: true });
  const { include_dir: nodeHeaders } = createRequire(import.meta.url)('node-api-headers') as { include_dir: string };
  // In this order: the framework library has some of the wheel library's names too.
  const wanted = ['libtensorflow.so.2', '_pywrap_tensorflow_internal.so', 'libtensorflow_framework.so.2'];
  run('g++', [
    ...['-O2', '-std=c++17', '-fPIC', '-shared', `-DNAPI_VERSION=${nodeApi}`, `-I${nodeHeaders}`, `-I${include}`],
    ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((name) => join(home, 'binding', name)),
    ...['-o', addon, `-L${libraries}`, '-Wl,--no-as-needed', ...wanted.map((name) => `-l:${name}`)],
    ...['-Wl,-rpath,$ORIGIN/../../deps/lib', '-Wl,--allow-shlib-undefined'],
  ]);
}

function run(program: string, args: readonly string[], cwd = process.cwd()): string {
  return execFileSync(program, args, {
    ...{ cwd, encoding: 'utf8', maxBuffer: 2 ** 26, stdio: ['ignore', 'pipe', 'pipe'] },
    timeout: 300_000, // A network that does not answer.
  });
}

function say(what: string): void {
  console.log(`tfjs: ${what}`);
}
