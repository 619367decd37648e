/**
 * Compiles the addons, the native engine (vgg_native.node) and the resample of pictures (vgg_resample.node), into
 * native/build with whatever C++17 compiler is there, and says in one line what it did. `npm run build` calls it after tsc.
 *
 *     node native/build.mjs [--require] [--into FOLDER]
 *
 * Without a compiler, and on machines for which there are no kernels, the prebuilt addons serve (prebuilt.sh) where they
 * are of the same sources; else the service runs on onnxruntime and resamples in TypeScript. That is no error unless
 * --require is given. What does not compile is one in CI, and with --require.
 *
 * CXX names the compiler, with arguments if need be. CXXFLAGS, CPPFLAGS and LDFLAGS are not read: what they hold is often
 * meant for one machine (-march=native), and would reach the kernels of all.
 *
 * Objects are kept under names that hold the hash of all that went into them, so a second build has nothing to do.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';

const addons = {
  vgg_native: { sources: 'src', face: 'addon.cc', flags: [] },
  // Its weights must be those of JavaScript, to the last bit.
  vgg_resample: { sources: 'resample', face: 'resample/addon.cc', flags: ['-ffp-contract=off'] },
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
const folder = import.meta.dirname;
/** Every symbol is looked up when the addon is loaded: one that is missing shows here and not in the middle of a run. */
const linkFlags = ['-shared', '-pthread', '-Wl,-z,now', '-Wl,--as-needed'];
/** Nothing but Node-API's two functions may leave an addon: a standard library inside of it is nobody else's. */
const exportsFile = join(folder, 'exports.map');
/** Which sources are compiled for which instruction sets. */
const kernelsFile = join(folder, 'kernels.txt');

const { values: options } = parseArgs({ options: { require: { type: 'boolean' }, into: { type: 'string' } } });
const isRequired = options.require === true;
const buildFolder = resolve(options.into ?? join(folder, 'build'));
const prebuiltFolder = join(folder, 'prebuilt', `${process.platform}-${process.arch}`);
/** Beside the addons, their key: what they were made from, and by which compiler. */
const stampName = 'vgg_native.json';
const onOnnxruntime = 'the service runs on onnxruntime';

await build();

async function build() {
  const startedAt = performance.now();
  const units = platforms.includes(process.platform) ? unitsOf(process.arch) : [];
  if (units.length === 0) return giveUp(`there are none of its kernels for ${process.platform} ${process.arch}`);
  const compiler = findCompiler();
  const key = { sources: hash(units.map(({ content }) => content)), compiler: compiler?.identity };
  if (readStamp(prebuiltFolder)?.sources !== key.sources) removeAddons(prebuiltFolder);
  const built = readStamp(buildFolder);
  if (built?.sources === key.sources && (!compiler || built.compiler === key.compiler)) return say('up to date');
  if (!compiler) return giveUp('no C++ compiler found (CXX, g++, clang++)', '. Debian: apt-get install g++');

  mkdirSync(buildFolder, { recursive: true });
  const unknown = new Set(units.filter((unit) => !isKnown(unit, compiler)).map(({ isa }) => isa));
  const buildable = unknown.size > 0 ? unitsOf(process.arch, unknown) : units;
  try {
    const objects = await inParallel(buildable, (unit) => compile(unit, compiler));
    for (const addon of Object.keys(addons)) {
      const own = objects.filter((_, at) => buildable[at].addon === addon);
      await link(join(buildFolder, `${addon}.node`), own, compiler);
    }
    writeFileSync(join(buildFolder, stampName), JSON.stringify(key));
    removeOthers(objects);
  } catch (error) {
    process.stderr.write(error.stderr || `${error.message}\n`);
    giveUp(`it does not compile with ${compiler.version}`);
    if (![undefined, '', '0', 'false'].includes(process.env.CI)) process.exitCode = 1;
    return;
  }
  const without =
    unknown.size > 0 ? `, without ${[...unknown].join(' and ')}, which ${compiler.version} does not know` : '';
  say(`built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s${without}`);
}

/**
 * One for each object: its source, its own flags, and all that it depends on but for the compiler. None without kernels.
 * @param leftOut instruction sets that the compiler does not know: only what the tables of kernels may lack
 */
function unitsOf(arch, leftOut = new Set()) {
  const kernels = readFileSync(kernelsFile, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.trim().split(/\s+/))
    .map(([source, of, isa, ...own]) => ({ source, arch: of, isa, own }));
  const here = kernels.filter((row) => row.arch === arch && !leftOut.has(row.isa));
  if (here.length === 0) return [];
  const tables = [...new Set(here.map(({ isa }) => `-DVGG_HAS_${isa.toUpperCase()}`))];
  return Object.entries(addons).flatMap(([addon, { sources, face, flags: addonFlags }]) => {
    const files = readdirSync(join(folder, sources)).sort();
    const shared = files.filter((file) => /\.(?:h|inc)$/.test(file)).map((file) => join(folder, sources, file));
    const unit = (file, isa, more = []) => {
      const source = join(folder, file);
      const own = [...addonFlags, ...more];
      const read = [source, ...shared, exportsFile].map((path) => readFileSync(path));
      const name = [addon, basename(file, '.cc'), isa].filter(Boolean).join('-');
      return { addon, isa, name, source, flags: own, content: hash([...flags, ...linkFlags, ...own, ...read]) };
    };
    const all = new Set([face, ...files.filter((file) => file.endsWith('.cc')).map((file) => `${sources}/${file}`)]);
    return [...all].flatMap((file) => {
      if (!kernels.some(({ source }) => source === file)) return [unit(file, undefined, tables)];
      const rows = here.filter(({ source }) => source === file);
      return rows.map(({ isa, own }) => unit(file, isa, [`-DVGG_ISA=${isa}`, ...own]));
    });
  });
}

function nodeApiHeaders() {
  return createRequire(import.meta.url)('node-api-headers').include_dir;
}

/** @returns {{command: string[], version: string, identity: string} | undefined} */
function findCompiler() {
  for (const name of [process.env.CXX, 'g++', 'clang++']) {
    const command = name?.split(' ').filter(Boolean) ?? [];
    if (command.length === 0) continue;
    const { status, stdout } = spawnSync(command[0], [...command.slice(1), '--version'], { encoding: 'utf8' });
    if (status !== 0) continue;
    const version = stdout.split('\n', 1)[0];
    return { command, version, identity: [...command, version].join(' ') };
  }
  return undefined;
}

/** Whether the compiler takes the flags of a unit. */
function isKnown({ isa, flags: own }, { command: [program, ...first] }) {
  if (isa === undefined) return true;
  return spawnSync(program, [...first, ...own, '-fsyntax-only', '-x', 'c++', '/dev/null']).status === 0;
}

async function compile({ name, source, flags: own, content }, { command, identity }) {
  const object = join(buildFolder, `${name}-${hash([content, identity]).slice(0, 16)}.o`);
  const includes = basename(source) === 'addon.cc' ? ['-isystem', nodeApiHeaders()] : [];
  if (!existsSync(object)) await make(object, command, [...flags, ...own, ...includes, '-c', source]);
  return object;
}

async function link(output, objects, { command }) {
  // A process that runs the old file keeps it: the new one is another file of the same name.
  const args = [...linkFlags, `-Wl,--version-script=${exportsFile}`, ...objects];
  await make(output, command, args, (path) => createRequire(import.meta.url)(path));
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

/** What the addons in a folder were made from; undefined where one is missing, or where nobody knows. */
function readStamp(ofFolder) {
  try {
    const areThere = Object.keys(addons).every((addon) => existsSync(join(ofFolder, `${addon}.node`)));
    return areThere ? JSON.parse(readFileSync(join(ofFolder, stampName), 'utf8')) : undefined;
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
function removeAddons(ofFolder) {
  const files = [...Object.keys(addons).map((addon) => `${addon}.node`), stampName];
  for (const file of files) rmSync(join(ofFolder, file), { force: true });
}

function giveUp(why, advice = '') {
  removeAddons(buildFolder);
  say(`${why}: ${readStamp(prebuiltFolder) ? 'the prebuilt one serves' : `${onOnnxruntime}${advice}`}`);
  if (isRequired) process.exitCode = 1;
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
