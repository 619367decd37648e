/**
 * Compiles the native engine into native/build/vgg_native.node with whatever C++17 compiler is there, and says in one
 * line what it did. `npm run build` calls it after tsc.
 *
 *     node native/build.mjs [--require]
 *
 * Without a compiler, and on machines for which there are no kernels, the service runs on onnxruntime: that is no error
 * unless --require is given. What does not compile is one in CI, and with --require.
 *
 * Objects are kept under names that hold the hash of all that went into them, so a second build has nothing to do.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The kernels are compiled once for each of these; which one runs is decided where it runs. Never -march=native. */
const instructionSets = {
  x64: {
    avx512: ['-mavx512f', '-mavx512vl', '-mavx512bw', '-mavx512dq', '-mavx2', '-mfma'],
    avx2: ['-mavx2', '-mfma'],
    baseline: [],
  },
  arm64: { baseline: [] }, // which has NEON
};
const avx512bf16 = [...instructionSets.x64.avx512, '-mavx512bf16'];
/** The same for the kernels of bfloat16. Compilers that do not know these instructions (GCC before 10 and 11) leave them out. */
const bf16Sets = { x64: { avx512bf16, amx: [...avx512bf16, '-mamx-tile', '-mamx-bf16'] }, arm64: {} };
const platforms = ['linux'];
const flags = [
  '-std=c++17',
  '-O3',
  '-ffp-contract=fast',
  '-fPIC',
  '-fvisibility=hidden',
  '-pthread',
  '-DNAPI_VERSION=8',
  ...['-Wall', '-Wextra', '-Wno-psabi'],
];
/** Every symbol is looked up when the addon is loaded: one that is missing shows here and not in the middle of a run. */
const linkFlags = ['-shared', '-pthread', '-Wl,-z,now', '-Wl,--as-needed'];

const folder = import.meta.dirname;
const buildFolder = join(folder, 'build');
const output = join(buildFolder, 'vgg_native.node');
/** The key of `output`: what it was made from, and by which compiler. */
const stamp = join(buildFolder, 'vgg_native.json');
const onOnnxruntime = 'the service runs on onnxruntime';
const isRequired = process.argv.includes('--require');

await build();

async function build() {
  const startedAt = performance.now();
  const sets = platforms.includes(process.platform) ? instructionSets[process.arch] : undefined;
  if (!sets) return giveUp(`there are none of its kernels for ${process.platform} ${process.arch}`, isRequired);
  const bf16 = bf16Sets[process.arch];
  const compiler = findCompiler();
  const key = { sources: hash(unitsOf(sets, bf16).map(({ content }) => content)), compiler: compiler?.version };
  const built = readStamp();
  if (built?.sources === key.sources && (!compiler || built.compiler === key.compiler)) return say('up to date');
  if (!compiler) {
    return giveUp('no C++ compiler found (CXX, g++, clang++)', isRequired, '. Debian: apt-get install g++');
  }

  mkdirSync(buildFolder, { recursive: true });
  const known = Object.entries(bf16).filter(([, own]) => isKnown(own, compiler));
  const unknown = Object.keys(bf16).filter((isa) => !known.some(([name]) => name === isa));
  try {
    const units = unitsOf(sets, Object.fromEntries(known));
    const objects = await inParallel(units, (unit) => compile(unit, compiler));
    await link(objects, compiler);
    writeFileSync(stamp, JSON.stringify(key));
    removeOthers(objects);
  } catch (error) {
    process.stderr.write(error.stderr || `${error.message}\n`);
    const isError = isRequired || ![undefined, '', '0', 'false'].includes(process.env.CI);
    return giveUp(`it does not compile with ${compiler.version}`, isError);
  }
  const without =
    unknown.length > 0 ? `, without ${unknown.join(' and ')}, which ${compiler.version} does not know` : '';
  say(`built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s${without}`);
}

/** One for each object: the source, its own flags, and all that the object depends on but for the compiler. */
function unitsOf(sets, bf16) {
  const sourceFolder = join(folder, 'src');
  const files = readdirSync(sourceFolder).sort();
  const headers = files.filter((file) => /\.(?:h|inc)$/.test(file)).map((file) => join(sourceFolder, file));
  const unit = (name, source, own) => ({
    name,
    source,
    flags: own,
    content: hash([...flags, ...linkFlags, ...own, ...[source, ...headers].map((path) => readFileSync(path))]),
  });
  const sources = files.filter((file) => file.endsWith('.cc')).map((file) => join(sourceFolder, file));
  const setsOf = { kernels: sets, bf16_linear: sets, bf16_kernels: bf16 };
  const tables = Object.keys(bf16).map((isa) => `-DVGG_HAS_${isa.toUpperCase()}`);
  return [
    unit('addon', join(folder, 'addon.cc'), []),
    ...sources.flatMap((source) => {
      const name = source.slice(sourceFolder.length + 1, -'.cc'.length);
      if (!setsOf[name]) return [unit(name, source, name === 'isa' ? tables : [])];
      return Object.entries(setsOf[name]).map(([isa, own]) =>
        unit(`${name}-${isa}`, source, [`-DVGG_ISA=${isa}`, ...own]),
      );
    }),
  ];
}

function nodeApiHeaders() {
  return createRequire(import.meta.url)('node-api-headers').include_dir;
}

/** @returns {{command: string[], version: string} | undefined} */
function findCompiler() {
  for (const name of [process.env.CXX, 'g++', 'clang++']) {
    const command = name?.split(' ').filter(Boolean) ?? [];
    if (command.length === 0) continue;
    const { status, stdout } = spawnSync(command[0], [...command.slice(1), '--version'], { encoding: 'utf8' });
    if (status === 0) return { command, version: stdout.split('\n', 1)[0] };
  }
  return undefined;
}

/** Whether the compiler takes these flags. */
function isKnown(own, { command: [program, ...first] }) {
  return spawnSync(program, [...first, ...own, '-fsyntax-only', '-x', 'c++', '/dev/null']).status === 0;
}

async function compile({ name, source, flags: own, content }, { command, version }) {
  const object = join(buildFolder, `${name}-${hash([content, version]).slice(0, 16)}.o`);
  const includes = name === 'addon' ? ['-isystem', nodeApiHeaders()] : [];
  if (!existsSync(object)) await make(object, command, [...flags, ...own, ...includes, '-c', source]);
  return object;
}

async function link(objects, { command }) {
  // A process that runs the old file keeps it: the new one is another file of the same name.
  await make(output, command, [...linkFlags, ...objects], (path) => createRequire(import.meta.url)(path));
}

/** Writes under another name first, so that a file of the right name is whole, and may be made twice at a time. */
async function make(path, [program, ...first], args, check = () => {}) {
  const unfinished = `${path}.${process.pid}${path.endsWith('.node') ? '.node' : ''}`;
  try {
    const { stderr } = await promisify(execFile)(program, [...first, ...args, '-o', unfinished], {
      maxBuffer: 2 ** 26,
    });
    process.stderr.write(stderr); // Warnings.
    check(unfinished);
    renameSync(unfinished, path);
  } finally {
    rmSync(unfinished, { force: true });
  }
}

/** As many at a time as there are CPUs, the results in the order of the items. */
async function inParallel(items, work) {
  const results = [];
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < items.length; at = next++) results[at] = await work(items[at]);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}

function readStamp() {
  try {
    return existsSync(output) ? JSON.parse(readFileSync(stamp, 'utf8')) : undefined;
  } catch {
    return undefined;
  }
}

/** Objects of sources that have changed since. */
function removeOthers(objects) {
  for (const file of readdirSync(buildFolder)) {
    const path = join(buildFolder, file);
    if (file.endsWith('.o') && !objects.includes(path)) rmSync(path, { force: true });
  }
}

/** An addon of other sources would answer for these. */
function giveUp(why, isError, advice = '') {
  for (const path of [output, stamp]) rmSync(path, { force: true });
  say(`${why}: ${onOnnxruntime}${advice}`);
  if (isError) process.exitCode = 1;
}

/** Not to stdout, which belongs to whatever is built and then run: `npm run bench:engines -- --json`. */
function say(what) {
  process.stderr.write(`native engine: ${what}\n`);
}

function hash(parts) {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(`${part.length}:`).update(part);
  return sum.digest('hex');
}
