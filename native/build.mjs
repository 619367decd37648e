/**
 * Compiles the native engine into native/build/vgg_native.node, and the resample of pictures into vgg_resample.node
 * beside it, with whatever C++17 compiler is there, and says in one line what it did. `npm run build` calls it after tsc.
 *
 *     node native/build.mjs [--require]
 *
 * Without a compiler, and on machines for which there are no kernels, the service runs on onnxruntime and resamples in
 * TypeScript: that is no error unless --require is given. What does not compile is one in CI, and with --require.
 *
 * Objects are kept under names that hold the hash of all that went into them, so a second build has nothing to do.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

/** The kernels are compiled once for each of these; which one runs is decided where it runs. Never -march=native. */
const instructionSets = {
  x64: {
    avx512: ['-mavx512f', '-mavx512vl', '-mavx512bw', '-mavx512dq', '-mavx2', '-mfma'],
    avx2: ['-mavx2', '-mfma'],
    baseline: [],
  },
  arm64: { neon: [] },
};
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
/** By the names of their units' folders. */
const outputs = { engine: join(buildFolder, 'vgg_native.node'), resample: join(buildFolder, 'vgg_resample.node') };
/** The key of `outputs`: what they were made from, and by which compiler. */
const stamp = join(buildFolder, 'vgg_native.json');
const onOnnxruntime = 'the service runs on onnxruntime';
const isRequired = process.argv.includes('--require');

await build();

async function build() {
  const startedAt = performance.now();
  const sets = platforms.includes(process.platform) ? instructionSets[process.arch] : undefined;
  if (!sets) return giveUp(`there are none of its kernels for ${process.platform} ${process.arch}`, isRequired);
  const units = unitsOf(sets);
  const compiler = findCompiler();
  const key = { sources: hash(units.map(({ content }) => content)), compiler: compiler?.version };
  const built = readStamp();
  if (built?.sources === key.sources && (!compiler || built.compiler === key.compiler)) return say('up to date');
  if (!compiler) {
    return giveUp('no C++ compiler found (CXX, g++, clang++)', isRequired, '. Debian: apt-get install g++');
  }

  mkdirSync(buildFolder, { recursive: true });
  try {
    const objects = await inParallel(units, (unit) => compile(unit, compiler));
    for (const [addon, output] of Object.entries(outputs)) {
      await link(
        output,
        objects.filter((_, at) => units[at].addon === addon),
        compiler,
      );
    }
    writeFileSync(stamp, JSON.stringify(key));
    removeOthers(objects);
  } catch (error) {
    process.stderr.write(error.stderr || `${error.message}\n`);
    const isError = isRequired || ![undefined, '', '0', 'false'].includes(process.env.CI);
    return giveUp(`it does not compile with ${compiler.version}`, isError);
  }
  say(`built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
}

/** One for each object: the source, its own flags, and all that the object depends on but for the compiler. */
function unitsOf(sets) {
  const resampleFolder = join(folder, 'resample');
  return [
    ...unitsIn(sets, { addon: 'engine', sourceFolder: join(folder, 'src'), face: join(folder, 'addon.cc') }),
    // Its weights must be those of JavaScript, to the last bit.
    ...unitsIn(sets, { addon: 'resample', sourceFolder: resampleFolder, own: ['-ffp-contract=off'] }),
  ];
}

/** `face` is the source of the addon's Node-API side, where it is not among the others. */
function unitsIn(sets, { addon, sourceFolder, face, own = [] }) {
  const files = readdirSync(sourceFolder).sort();
  const paths = (ending) => files.filter((file) => ending.test(file)).map((file) => join(sourceFolder, file));
  const headers = paths(/\.(?:h|inc)$/);
  const unit = (source, isa, more = []) => {
    const all = [...own, ...more];
    const name = [addon, basename(source, '.cc'), isa].filter(Boolean).join('-');
    const content = hash([...flags, ...linkFlags, ...all, ...[source, ...headers].map((path) => readFileSync(path))]);
    return { addon, name, source, flags: all, content };
  };
  return [...(face ? [face] : []), ...paths(/\.cc$/)].flatMap((source) => {
    if (basename(source) !== 'kernels.cc') return [unit(source)];
    return Object.entries(sets).map(([isa, more]) => unit(source, isa, [`-DVGG_ISA=${isa}`, ...more]));
  });
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

async function compile({ name, source, flags: own, content }, { command, version }) {
  const object = join(buildFolder, `${name}-${hash([content, version]).slice(0, 16)}.o`);
  const includes = basename(source) === 'addon.cc' ? ['-isystem', nodeApiHeaders()] : [];
  if (!existsSync(object)) await make(object, command, [...flags, ...own, ...includes, '-c', source]);
  return object;
}

async function link(output, objects, { command }) {
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
    return Object.values(outputs).every(existsSync) ? JSON.parse(readFileSync(stamp, 'utf8')) : undefined;
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

/** Addons of other sources would answer for these. */
function giveUp(why, isError, advice = '') {
  for (const path of [...Object.values(outputs), stamp]) rmSync(path, { force: true });
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
