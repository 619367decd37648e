import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { Engine, EngineSpec } from '../../src/engines/engine.js';
import type { Network } from '../../src/model-registry/architecture.js';
import { buildResNet } from '../../src/resnet/network.js';
import { buildNetwork, type NetworkOptions } from '../../src/vgg/network.js';
import { naiveForward } from './naive-forward.js';
import {
  randomPixels,
  relativeError,
  smallNetworkSpec,
  smallNetworks,
  specOf,
  thinCfg,
  writeOwnWeights,
} from './test-networks.js';

/** An engine under test, and how far it may be from float64, as a part of the largest logit. */
export interface EngineUnderTest {
  readonly name: string;
  readonly tolerance: number;
  /** Whether it runs networks in which a layer reads another than the one before it. */
  readonly residual: boolean;
  start(spec: EngineSpec): Promise<Engine>;
}

const containers = [
  ['zip', '.pth'],
  ['legacy', '.legacy.pth'],
] as const;

const rest = { batchNorm: false, hidden: 16, classes: 7 } as const;
const ownVggs: readonly { name: string; inputSize: number; options: NetworkOptions }[] = [
  { name: 'A-LRN', inputSize: 64, options: { ...rest, cfg: thinCfg('A-LRN'), pool: [2, 2] } },
  { name: 'C, its 1x1 convolutions', inputSize: 64, options: { ...rest, cfg: thinCfg('C'), pool: [2, 2] } },
  { name: 'batch norm', inputSize: 37, options: { ...rest, cfg: [6, 'M', 9], batchNorm: true, pool: [18, 18] } },
  { name: 'a pool that divides', inputSize: 48, options: { ...rest, cfg: [6, 'M'], pool: [4, 6] } },
  { name: 'a pool that does not divide', inputSize: 50, options: { ...rest, cfg: [6, 'M'], pool: [7, 4] } },
  { name: 'a pool larger than its input', inputSize: 11, options: { ...rest, cfg: [6, 'M', 'M'], pool: [7, 5] } },
  { name: 'a pool that divides the height only', inputSize: 24, options: { ...rest, cfg: [6, 'M'], pool: [6, 5] } },
  { name: 'a pool that divides the width only', inputSize: 24, options: { ...rest, cfg: [6, 'M'], pool: [5, 6] } },
];

/** Two blocks that keep their size, one of them without downsample, and one that halves an even or odd size. */
const resNet = buildResNet({
  stem: 4,
  stages: [
    { blocks: 2, width: 3, stride: 1 },
    { blocks: 1, width: 5, stride: 2 },
  ],
  classes: 7,
});
const ownNetworks: readonly { name: string; inputSize: number; network: Network }[] = [
  ...ownVggs.map(({ options, ...row }) => ({ ...row, network: buildNetwork(options) })),
  { name: 'residual blocks', inputSize: 32, network: resNet },
  { name: 'residual blocks and odd sizes', inputSize: 35, network: resNet },
];

/** What every engine must do. */
export function testEngineContract({ name, tolerance, residual, start }: EngineUnderTest): void {
  const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-engine-'));
  after(() => rmSync(folder, { recursive: true }));

  async function withEngine(spec: EngineSpec, work: (engine: Engine) => Promise<void>): Promise<void> {
    const engine = await start(spec);
    try {
      await work(engine);
    } finally {
      await engine.close();
    }
  }

  describe(`${name}: run() of a network that PyTorch saved`, () => {
    for (const network of smallNetworks()) {
      for (const [container, ending] of containers) {
        test(`${network.name}, ${container} container`, async (t) => {
          await withEngine(await smallNetworkSpec(network, network.name + ending), async (engine) => {
            const { logits } = await engine.run(network.pixels, network.n);
            const error = relativeError(logits, network.logits.flat());
            t.diagnostic(`relative error ${error.toExponential(1)}`);
            assert.ok(error <= tolerance, `${error} > ${tolerance}`);
          });
        });
      }
    }
  });

  describe(`${name}: run() of a network with`, () => {
    for (const { name: what, inputSize, network } of ownNetworks) {
      const skip = network === resNet && !residual && 'this engine does not run residual networks';
      test(what, { skip }, async () => {
        const { weights, tensors } = writeOwnWeights(network, mkdtempSync(join(folder, 'own-')));
        const spec = specOf(network, inputSize, tensors);
        const pixels = randomPixels(1, inputSize);
        await withEngine(spec, async (engine) => {
          const { logits } = await engine.run(pixels, 1);
          const error = relativeError(logits, naiveForward(spec, weights, pixels));
          assert.ok(error <= tolerance, `${error} > ${tolerance}`);
        });
      });
    }
  });

  describe(`${name}: an engine`, () => {
    const network = buildNetwork({ ...rest, cfg: [6, 'M', 8, 'M'], pool: [3, 3] });
    const spec = specOf(network, 20, writeOwnWeights(network, folder).tensors);
    const pictureBytes = 20 * 20 * 3;
    const pixels = randomPixels(spec.maxBatchSize, 20);
    const picture = (index: number) => pixels.subarray(index * pictureBytes, (index + 1) * pictureBytes);

    test('answers a batch of any size as it answers each picture alone, in any order of sizes', async () => {
      await withEngine(spec, async (engine) => {
        const alone: number[] = [];
        for (let index = 0; index < spec.maxBatchSize; index++)
          alone.push(...(await engine.run(picture(index), 1)).logits);
        for (const n of [3, 1, spec.maxBatchSize, 2]) {
          const { logits } = await engine.run(pixels.subarray(0, n * pictureBytes), n);
          const error = relativeError(logits, alone.slice(0, n * spec.classes));
          assert.ok(error <= tolerance, `n = ${n}: ${error} > ${tolerance}`);
        }
      });
    });

    test('gives logits that later runs leave alone, and the time of the run', async () => {
      await withEngine(spec, async (engine) => {
        const first = await engine.run(picture(0), 1);
        const copy = [...first.logits];
        await engine.run(picture(1), 1);
        assert.deepEqual([...first.logits], copy);
        assert.ok(first.computeMs > 0);
      });
    });

    test('says what it is', async () => {
      await withEngine(spec, async ({ info }) => {
        assert.equal(info.engine, name);
        assert.equal(info.threads, spec.threads);
        assert.match(info.version, /^\d+\.\d+\.\d+/);
      });
    });

    test('that lacks a tensor does not start, and names it', async () => {
      const tensors = spec.tensors.filter((tensor) => tensor.name !== 'classifier.3.bias');
      await assert.rejects(start({ ...spec, tensors }), /The tensor classifier\.3\.bias is missing/);
    });

    test('with a tensor of another shape does not start, and names both shapes', async () => {
      const tensors = spec.tensors.map((tensor) =>
        tensor.name === 'features.0.weight' ? { ...tensor, shape: [6, 3, 9] } : tensor,
      );
      await assert.rejects(
        start({ ...spec, tensors }),
        /features\.0\.weight is \[6,3,9\].* needs it as float32 \[6,3,3,3\]/,
      );
    });

    test('whose file of weights is not there does not start, and names the file', async () => {
      const tensors = spec.tensors.map((tensor) => ({ ...tensor, path: join(folder, 'nowhere.pth') }));
      await assert.rejects(start({ ...spec, tensors }), /The weights cannot be read: ENOENT.*nowhere\.pth/);
    });

    test('whose file of weights is too short does not start', async () => {
      const tensors = spec.tensors.map((tensor) => ({ ...tensor, byteOffset: tensor.byteOffset + 1e6 }));
      await assert.rejects(start({ ...spec, tensors }), /out of bounds/);
    });
  });
}
