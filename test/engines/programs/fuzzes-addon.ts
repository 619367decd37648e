/**
 * Hands the addon specs and arguments in which something is wrong. It may take them or throw an Error that says why;
 * this process must live. Judged by its exit code, so that a crash is seen; its memory is limited, so that a spec of
 * absurd sizes cannot take the machine's.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { type Addon, type Handle, loadAddon, type NativeSpec } from '../../../src/engines/native/addon.js';
import { limitMemory } from './limit-memory.js';

const addon = loadAddon();
const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-fuzz-'));
const path = join(folder, 'zeros.bin');
writeFileSync(path, new Uint8Array(8192));
const fd = openSync(path, 'r');
rmSync(folder, { recursive: true });

/** Every kind of layer. The weights overlap; they are zeros. */
const spec: NativeSpec = {
  files: [{ fd, size: 8192 }],
  layers: [
    { kind: 'conv', in: 3, out: 5, kernel: 3, padding: 1, weight: [0, 1], bias: [0, 2] },
    {
      kind: 'batchnorm',
      channels: 5,
      eps: 1e-5,
      weight: [0, 0],
      bias: [0, 0],
      running_mean: [0, 0],
      running_var: [0, 0],
    },
    { kind: 'relu' },
    { kind: 'lrn', size: 5, alpha: 1e-4, beta: 0.75, k: 2 },
    { kind: 'maxpool' },
    { kind: 'conv', in: 5, out: 17, kernel: 1, padding: 0, weight: [0, 0], bias: null },
    { kind: 'avgpool', output: [2, 3] },
    { kind: 'flatten' },
    { kind: 'linear', in: 102, out: 4, weight: [0, 3], bias: [0, 8176] },
  ],
  inputSize: 9,
  classes: 4,
  mean: [0, 0, 0],
  std: [1, 1, 1],
  maxBatchSize: 2,
  threads: 1,
  precision: 'fp32',
  isa: '',
};

type Path = readonly (string | number)[];

/** The paths of all fields that hold no further ones. */
function leaves(value: unknown, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [at];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...at, Array.isArray(value) ? +key : key]));
}

/** A copy of the object with another value there. */
function withValue(object: unknown, [key, ...rest]: Path, value: unknown): unknown {
  if (key === undefined) return value;
  if (typeof object !== 'object' || object === null) return object;
  const inner: unknown = Reflect.get(object, key);
  const changed = withValue(inner, rest, value);
  if (!Array.isArray(object)) return { ...object, [key]: changed };
  const copy = [...object];
  copy[Number(key)] = changed;
  return copy;
}

const isErrorWithWords = (error: unknown) => error instanceof Error && error.message.length > 5;

/** What it opens, it must also run. */
function tryToUse(changed: unknown): void {
  let handle: Handle;
  try {
    handle = addon.open(changed as NativeSpec);
  } catch (error) {
    assert.ok(isErrorWithWords(error), String(error));
    return;
  }
  try {
    const { inputSize, classes } = changed as NativeSpec;
    addon.about(handle);
    addon.run(handle, new Uint8Array(inputSize ** 2 * 3), 1, new Float32Array(classes));
  } finally {
    addon.close(handle);
  }
}

const paths = leaves(spec);
/** A field, or an object or array that holds some. */
const anyPath = fc.constantFrom(...paths).chain((all) => fc.nat(all.length).map((length) => all.slice(0, length)));
const anyValue = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    true,
    '',
    '12',
    'relu',
    'conv',
    'linear',
    'avx2',
    1n,
    Symbol('no'),
    () => 1,
  ),
  fc.constantFrom<unknown>(Number.NaN, Number.POSITIVE_INFINITY, -1, -0, 0.5, 1e308, 5e-324),
  fc.constantFrom<unknown>(1024, 65536, 65537, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 64),
  fc.constantFrom<unknown>({}, [], [[]], new Array(9), new Uint8Array(4), new Proxy({}, {}), new Date()),
  fc.integer({ min: -20, max: 200 }),
  fc.double(),
  fc.anything(),
);

limitMemory(2 ** 30);
tryToUse(spec);
for (const field of ['files', 'layers']) tryToUse({ ...spec, [field]: new Array(2 ** 32 - 1) });

fc.assert(
  fc.property(fc.array(fc.tuple(anyPath, anyValue), { minLength: 1, maxLength: 3 }), (changes) => {
    let changed: unknown = spec;
    for (const [at, value] of changes) changed = withValue(changed, at, value);
    tryToUse(changed);
  }),
  { seed: 21, numRuns: 3000 },
);

// One field of a type that it cannot have: the error is a TypeError that names it.
for (const at of paths) {
  const [field = ''] = at.filter((key) => typeof key === 'string').slice(-1);
  for (const value of [undefined, true, {}, '12', 'x', Symbol('x'), 1n, Number.NaN, Number.POSITIVE_INFINITY, -1.5]) {
    const isText = field === 'kind' || field === 'isa';
    const mayBeNull = field === 'bias' && at.length === 3;
    const isSigned = ['mean', 'std', 'eps', 'alpha', 'beta', 'k'].includes(field);
    if (mayBeNull || (isText && typeof value === 'string') || (isSigned && value === -1.5)) continue;
    assert.throws(
      () => addon.open(withValue(spec, at, value) as NativeSpec),
      (error) => error instanceof TypeError && error.message.includes(field),
      `${at.join('.')} = ${String(value)}`,
    );
  }
}

// run() of arguments that do not belong together.
const handle = addon.open(spec);
const arrays = fc.oneof(
  fc.integer({ min: 0, max: 500 }).map((length) => new Uint8Array(length)),
  fc.integer({ min: 0, max: 9 }).map((length) => new Float32Array(length)),
  fc.constantFrom<unknown>(new Uint8Array(243), new Uint8Array(486), new Float32Array(4), new Float32Array(8)),
  fc.constantFrom<unknown>(
    structuredClone,
    new DataView(new ArrayBuffer(243)),
    new ArrayBuffer(243),
    Buffer.alloc(243),
  ),
  anyValue,
);
fc.assert(
  fc.property(
    fc.oneof({ weight: 9, arbitrary: fc.constant<unknown>(handle) }, anyValue),
    arrays,
    fc.oneof(fc.integer({ min: -1, max: 3 }), anyValue),
    arrays,
    (given, pixels, n, logits) => {
      try {
        addon.run(...([given, pixels, n, logits] as Parameters<Addon['run']>));
      } catch (error) {
        assert.ok(isErrorWithWords(error), String(error));
        return;
      }
      assert.equal((pixels as Uint8Array).byteLength, Number(n) * 243);
      assert.equal((logits as Float32Array).length, Number(n) * 4);
    },
  ),
  { seed: 22, numRuns: 3000 },
);
addon.close(handle);
