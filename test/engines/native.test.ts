import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, type TestContext, test } from 'node:test';
import type { Engine, EngineSpec } from '../../src/engines/engine.js';
import {
  type Addon,
  type Handle,
  isAddonBuilt,
  isas,
  loadAddon,
  type NativeSpec,
} from '../../src/engines/native/addon.js';
import { openNative } from '../../src/engines/native/session.js';
import { startEngine } from '../../src/engines/process.js';
import { buildNetwork } from '../../src/vgg/network.js';
import {
  randomPixels,
  relativeError,
  smallNetworkSpec,
  smallNetworks,
  specOf,
  tinySpec,
  writeOwnWeights,
} from './test-networks.js';

/** Which no machine of this architecture lacks. */
const everywhere = process.arch === 'arm64' ? 'neon' : 'baseline';
const skip = isAddonBuilt() ? false : 'its addon is not built';
const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-native-'));
after(() => rmSync(folder, { recursive: true }));

/** Closed when the test is over. Undefined, with a word about it, on a machine without that instruction set. */
async function openOn(t: TestContext, spec: EngineSpec, isa: (typeof isas)[number]): Promise<Engine | undefined> {
  try {
    const engine = await openNative(spec, isa);
    t.after(() => engine.close());
    return engine;
  } catch (error) {
    if (isa === everywhere || !(error as Error).message.includes(isa)) throw error;
    t.skip((error as Error).message);
    return undefined;
  }
}

describe('openNative()', { skip }, () => {
  for (const isa of isas) {
    for (const network of smallNetworks()) {
      test(`${isa}: ${network.name} is within 1e-5 of PyTorch in float64`, async (t) => {
        const engine = await openOn(t, await smallNetworkSpec(network, `${network.name}.pth`), isa);
        if (!engine) return;
        assert.equal(engine.info.isa, isa);
        const { logits } = await engine.run(network.pixels, network.n);
        const error = relativeError(logits, network.logits.flat());
        t.diagnostic(`relative error ${error.toExponential(1)}`);
        assert.ok(error <= 1e-5, String(error));
      });
    }
  }

  test('answers the same to the bit with any number of threads, and in any batch', async (t) => {
    const network = buildNetwork({
      cfg: [20, 33, 'M', 40, 'M'],
      batchNorm: true,
      pool: [5, 5],
      hidden: 70,
      classes: 9,
    });
    const spec = { ...specOf(network, 45, writeOwnWeights(network, mkdtempSync(join(folder, 'own-'))).tensors) };
    const pixels = randomPixels(4, 45);
    const answers: Float32Array[] = [];
    for (const threads of [1, 2, 3]) {
      const engine = await openNative({ ...spec, threads });
      t.after(() => engine.close());
      answers.push((await engine.run(pixels, 4)).logits);
      const alone: number[] = [];
      for (let at = 0; at < 4; at++) {
        alone.push(...(await engine.run(pixels.subarray(at * 45 * 45 * 3, (at + 1) * 45 * 45 * 3), 1)).logits);
      }
      answers.push(Float32Array.from(alone));
    }
    for (const answer of answers) assert.deepEqual(answer, answers[0]);
  });

  test('normalises a picture of one pixel', async (t) => {
    const network = buildNetwork({ cfg: [4], batchNorm: false, pool: [1, 1], hidden: 5, classes: 3 });
    const spec = specOf(network, 1, writeOwnWeights(network, mkdtempSync(join(folder, 'own-'))).tensors);
    const [native, onnxruntime] = [await openNative(spec), await startEngine(spec, { engine: 'onnxruntime' })];
    t.after(() => Promise.all([native.close(), onnxruntime.close()]));
    const pixels = Uint8Array.of(0, 128, 255);
    const expected = await onnxruntime.run(pixels, 1);
    assert.ok(relativeError((await native.run(pixels, 1)).logits, [...expected.logits]) <= 1e-5);
  });

  test('tells its plan by the names of the layers, those behind a dropout too', async (t) => {
    const network = buildNetwork({ cfg: [20, 'M', 8], batchNorm: true, pool: [2, 2], hidden: 5, classes: 3 });
    const spec = specOf(network, 24, writeOwnWeights(network, mkdtempSync(join(folder, 'own-'))).tensors);
    const isa = process.arch === 'arm64' ? 'neon' : 'baseline';
    const engine = await openNative({ ...spec, isa });
    t.after(() => engine.close());
    assert.equal(engine.info.isa, isa);
    const { plan = [] } = engine.info;
    const kindOf = new Map(network.layers.map(({ name, kind }) => [name, kind]));
    const weighty = network.layers.filter(({ kind }) => kind === 'conv' || kind === 'linear').map(({ name }) => name);
    const planned = plan.flatMap(({ layer }) => (layer === null ? [] : [layer]));
    assert.deepEqual(
      planned.filter((name) => weighty.includes(name)),
      weighty,
    );
    assert.deepEqual(
      planned.filter((name) => !kindOf.has(name) || kindOf.get(name) === 'dropout'),
      [],
    );
    for (const { layer, kind, tile } of plan) {
      if (kind === 'linear') assert.equal(kindOf.get(layer ?? ''), 'linear');
      if (tile !== undefined) assert.equal(kindOf.get(layer ?? ''), 'conv');
    }
    assert.ok([2, 4, 6].includes(plan.find(({ layer }) => layer === 'features.4')?.tile ?? 0));
  });

  test('of an instruction set that there is not', async () => {
    await assert.rejects(openNative(tinySpec(mkdtempSync(join(folder, 'own-'))), 'mmx' as 'avx2'), /mmx/);
  });

  test('of a file that is cut in the middle of a tensor: which one, and what the file has', async () => {
    const spec = tinySpec(mkdtempSync(join(folder, 'own-')));
    const [{ path = '', name = '' } = {}] = spec.tensors.slice(-1);
    const { size } = statSync(path);
    truncateSync(path, size - 1);
    await assert.rejects(openNative(spec), {
      name: 'RangeError',
      message: `${path} is too short: it has ${size - 1} bytes, and ${name} (bytes ${size - 12} to ${size}) is out of bounds.`,
    });
  });

  test('closed: later runs throw, and a second close() does nothing', async () => {
    const spec = tinySpec(mkdtempSync(join(folder, 'own-')));
    const engine = await openNative(spec);
    await engine.close();
    await engine.close();
    await assert.rejects(engine.run(randomPixels(1, spec.inputSize), 1), /the network is closed/);
  });
});

describe('precisions()', { skip }, () => {
  test('tells what runs here, and why the rest does not', () => {
    const { precisions } = loadAddon();
    const here = precisions('');
    assert.equal(here.fp32, true);
    assert.equal(here['bf16-classifier'], true);
    if (here.bf16 !== true)
      assert.match(here.bf16, /not by amx: .*; not by avx512bf16: .*take fp32 or bf16-classifier$/);
    assert.match(String(precisions('baseline').bf16), /"baseline" has no kernels for it/);
    assert.match(String(precisions('amx').fp32), /"amx" is for the precision bf16 only/);
  });
});

describe('the addon, given what it does not take, throws:', { skip }, () => {
  const path = join(folder, 'four.bin');
  writeFileSync(path, new Uint8Array(56));
  const fd = openSync(path, 'r');
  after(() => closeSync(fd));
  /** Flatten, and 12 inputs to one class. */
  const spec: NativeSpec = {
    files: [{ fd, size: 56 }],
    layers: [{ kind: 'flatten' }, { kind: 'linear', in: 12, out: 1, weight: [0, 0], bias: [0, 48] }],
    inputSize: 2,
    classes: 1,
    mean: [0, 0, 0],
    std: [1, 1, 1],
    maxBatchSize: 2,
    threads: 1,
    precision: 'fp32',
    isa: '',
  };
  const linear = { kind: 'linear', in: 12, out: 1, weight: [0, 0], bias: [0, 48] };
  const addon: Addon | undefined = isAddonBuilt() ? loadAddon() : undefined;
  const open = (changed: unknown) => addon?.open(changed as NativeSpec) as Handle;

  const refused: readonly (readonly [string, unknown, RegExp])[] = [
    ['nothing', undefined, /null|object/],
    ['no files', { ...spec, files: undefined }, /spec\.files is not an array$/],
    ['a file that is not open', { ...spec, files: [{ fd: 1e6, size: 56 }] }, /cannot be mapped: Bad file descriptor$/],
    ['a file that is shorter', { ...spec, files: [{ fd, size: 57 }] }, /has become shorter: 56 bytes, not 57$/],
    ['a size of -1', { ...spec, files: [{ fd, size: -1 }] }, /spec\.files\[0\]\.size is not a whole number/],
    ['a layer of no kind', { ...spec, layers: [{}] }, /spec\.layers\[0\]\.kind is not a string$/],
    ['a layer of another kind', { ...spec, layers: [{ kind: 'gru' }] }, /spec\.layers\[0\] is of a kind .*: gru$/],
    ['half a channel', { ...spec, layers: [{ ...linear, in: 0.5 }] }, /spec\.layers\[0\]\.in is not a whole number/],
    ['a size that is no number', { ...spec, layers: [{ ...linear, in: '12' }] }, /\.in is not a number$/],
    ['NaN', { ...spec, inputSize: Number.NaN }, /spec\.inputSize is not a whole number/],
    ['another precision', { ...spec, precision: 'fp8' }, /spec\.precision is none of fp32, bf16 and .*: fp8$/],
    ['a precision that is no text', { ...spec, precision: 16 }, /spec\.precision is not a string$/],
    ['bf16 by AVX2', { ...spec, precision: 'bf16', isa: 'avx2' }, /"avx2" has no kernels for it.*take fp32 or/],
    ['fp32 by AMX', { ...spec, isa: 'amx' }, /"amx" is for the precision bf16 only/],
    ['a tensor in no file', { ...spec, layers: [{ ...linear, weight: [1, 0] }] }, /weight names no file$/],
    [
      'a tensor past the end',
      { ...spec, layers: [{ ...linear, bias: [0, 53] }] },
      /out of bounds: 4 bytes at 53 of .* 56$/,
    ],
    ['a tensor far away', { ...spec, layers: [{ ...linear, bias: [0, 2 ** 53 - 1] }] }, /out of bounds/],
    [
      'a tensor of 2^64 bytes',
      { ...spec, layers: [{ ...linear, in: 2 ** 31 - 1, out: 2 ** 31 - 1 }] },
      /memory|bounds/,
    ],
    ['sizes that do not fit together', { ...spec, inputSize: 1 }, /./],
    ['no threads', { ...spec, threads: 0 }, /./],
    ['no batch', { ...spec, maxBatchSize: 0 }, /./],
    ['no layers', { ...spec, layers: [] }, /./],
    ['a word for whether to profile', { ...spec, profile: 'yes' }, /spec\.profile is not a boolean$/],
  ];
  for (const [what, changed, message] of refused)
    test(`open() of ${what}`, () => assert.throws(() => open(changed), message));

  test('a getter that throws is what open() throws', () => {
    const own = new RangeError('mine');
    const getter = {
      get files() {
        throw own;
      },
    };
    assert.throws(() => open(getter), own);
  });

  test('run() of what is not a picture for each class', () => {
    const handle = open(spec);
    const run = (...args: unknown[]) => addon?.run(...(args as Parameters<Addon['run']>));
    const [pixels, logits] = [new Uint8Array(24), new Float32Array(2)];
    for (const [args, message] of [
      [[{}, pixels, 2, logits], /the handle is not one of open/],
      [[undefined, pixels, 2, logits], /the handle is not one of open/],
      [[handle, [...pixels], 2, logits], /pixels is not a Uint8Array/],
      [[handle, new Uint16Array(24), 2, logits], /pixels is not a Uint8Array/],
      [[handle, pixels, 2, new Float64Array(2)], /logits is not a Float32Array/],
      [[handle, pixels, 1, logits], /1 pictures in 24 bytes, with room for 2 logits/],
      [[handle, pixels, 3, logits], /n is not a whole number from 0 to 2/],
      [[handle, new Uint8Array(0), 0, new Float32Array(0)], /0 pictures in 0 bytes/],
      [[handle], /pixels is not a Uint8Array/],
    ] as const) {
      assert.throws(() => run(...args), message);
    }
    run(handle, pixels, 2, logits);
    addon?.close(handle);
    assert.throws(() => run(handle, pixels, 2, logits), /the network is closed/);
  });

  test('times() of a network that was not asked to be profiled is empty, else of each step', () => {
    const [plain, profiled] = [open(spec), open({ ...spec, profile: true })];
    for (const handle of [plain, profiled]) addon?.run(handle, new Uint8Array(24), 2, new Float32Array(2));
    assert.equal(addon?.times(plain), '[]');
    const times: { layer: number; kind: string; ms: number }[] = JSON.parse(addon?.times(profiled) ?? '');
    assert.deepEqual(
      times.map(({ layer, kind }) => [layer, kind]),
      [
        [-1, 'normalise'],
        [0, 'flatten'],
        [1, 'linear'],
      ],
    );
    for (const { ms } of times) assert.ok(ms >= 0, String(ms));
    addon?.close(profiled);
    assert.throws(() => addon?.times(profiled), /the network is closed/);
  });

  test('fmaPeak() of the baseline counts something, of what there is not throws', () => {
    assert.ok((addon?.fmaPeak('baseline', 1) ?? 0) > 0.1);
    assert.throws(() => addon?.fmaPeak('mmx' as 'avx2', 1), /"mmx" is not to be had here; there are: .*baseline$/);
    assert.throws(() => addon?.fmaPeak('baseline', 0), /the number of threads is 0; allowed are 1 to 1024$/);
  });
});
