import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chooseEngine, mayFallBack, refuseMissing } from '../../src/engines/choose.js';
import type { Precision } from '../../src/engines/engine.js';
import type { Layer } from '../../src/network/layer.js';
import { resnets } from '../../src/resnet/configs.js';
import { buildResNet } from '../../src/resnet/network.js';
import { builderOptions, buildNetwork } from '../../src/vgg/network.js';

const inFp32 = (layers: readonly Layer[]) => ({ layers, precision: 'fp32' }) as const;
const vgg = inFp32(buildNetwork(builderOptions('vgg16_bn')).layers);
const resnet = inFp32(buildResNet({ ...resnets.resnet50, classes: 3 }).layers);

describe('chooseEngine()', () => {
  test('auto takes native for a VGG, every kind of its layers', () => {
    for (const cfg of [['LRN', 8, 'M', 'conv1-8'], [8]] as const) {
      const { layers } = buildNetwork({ cfg, batchNorm: true, pool: [1, 1], hidden: 4, classes: 3 });
      assert.equal(chooseEngine('auto', true, inFp32(layers)).engine, 'native');
    }
    assert.deepEqual(chooseEngine('auto', true, vgg), {
      engine: 'native',
      reason: 'it is built, and runs this network',
    });
  });

  test('auto takes onnxruntime where native is not built, and says how to build it', () => {
    const { engine, reason } = chooseEngine('auto', false, vgg);
    assert.equal(engine, 'onnxruntime');
    assert.match(reason, /not built: "node \/.*\/native\/build\.mjs" .* apt-get install g\+\+/);
  });

  test('auto takes onnxruntime for a network that native does not run, and names the first such layer', () => {
    assert.deepEqual(chooseEngine('auto', true, resnet), {
      engine: 'onnxruntime',
      reason: 'the native engine does not run this network: conv1 is a 7 x 7 convolution of stride 2 and padding 3',
    });
  });

  test('onnxruntime is onnxruntime, native there or not', () => {
    for (const isBuilt of [true, false]) assert.equal(chooseEngine('onnxruntime', isBuilt, vgg).engine, 'onnxruntime');
  });

  test('native is native, or an error that says what to do', () => {
    assert.equal(chooseEngine('native', true, vgg).engine, 'native');
    assert.throws(() => chooseEngine('native', false, vgg), {
      name: 'EngineChoiceError',
      message: /^--engine native: the native engine is not built: "node \/.*\/native\/build\.mjs" builds it/,
    });
    assert.throws(() => chooseEngine('native', true, resnet), {
      name: 'EngineChoiceError',
      message: /does not run this network: conv1 is a 7 x 7 .*\. Take --engine auto\.$/,
    });
  });

  for (const precision of ['bf16', 'bf16-classifier'] as const satisfies Precision[]) {
    test(`${precision} is native's alone: an error with the reason wherever that would not be taken`, () => {
      const wanted = { ...vgg, precision };
      assert.equal(chooseEngine('auto', true, wanted).engine, 'native');
      assert.equal(chooseEngine('native', true, wanted).engine, 'native');
      for (const [asked, isBuilt, layers, reason] of [
        ['onnxruntime', true, vgg.layers, /: it was asked for\./],
        ['auto', false, vgg.layers, /not built: "node .*build\.mjs" .*g\+\+\)\./],
        ['auto', true, resnet.layers, /does not run this network: conv1 is a 7 x 7 .*\./],
      ] as const) {
        assert.throws(
          () => chooseEngine(asked, isBuilt, { layers, precision }),
          (error: Error) => {
            assert.equal(error.name, 'EngineChoiceError');
            assert.ok(error.message.startsWith(`Precision ${precision} is to be had from the native engine only`));
            assert.match(error.message, reason);
            assert.match(error.message, /\. Otherwise take precision fp32\.$/);
            return true;
          },
        );
      }
    });
  }

  test('an instruction set is kept too: refused for another precision, and where native would not be taken', () => {
    for (const isa of ['avx512', 'avx2', 'neon', 'baseline'] as const) {
      assert.equal(chooseEngine('auto', true, { ...vgg, isa }).engine, 'native');
      assert.equal(chooseEngine('auto', true, { ...vgg, precision: 'bf16-classifier', isa }).engine, 'native');
      assert.throws(() => chooseEngine('auto', true, { ...vgg, precision: 'bf16', isa }), {
        name: 'EngineChoiceError',
        message: `--isa ${isa} does not compute in bf16: give auto or one of amx, avx512bf16, or another precision.`,
      });
      for (const [asked, isBuilt, wanted] of [
        ['onnxruntime', true, vgg],
        ['auto', false, vgg],
        ['auto', true, resnet],
      ] as const) {
        assert.throws(() => chooseEngine(asked, isBuilt, { ...wanted, isa }), {
          name: 'EngineChoiceError',
          message: new RegExp(
            `^--isa ${isa} is to be had from the native engine only; .*\\. Otherwise take --isa auto\\.$`,
          ),
        });
      }
    }
    for (const isa of ['amx', 'avx512bf16'] as const) {
      assert.equal(chooseEngine('auto', true, { ...vgg, precision: 'bf16', isa }).engine, 'native');
      assert.throws(() => chooseEngine('auto', true, { ...vgg, isa }), {
        message: `--isa ${isa} does not compute in fp32: give auto or one of avx512, avx2, neon, baseline, or another precision.`,
      });
    }
    assert.equal(chooseEngine('auto', true, { ...resnet, isa: 'auto' }).engine, 'onnxruntime');
  });

  const conv = { kind: 'conv', name: 'c', inChannels: 3, outChannels: 4, bias: true } as const;
  const refused: readonly (readonly [Layer, RegExp])[] = [
    [{ ...conv, kernel: 3, stride: 2, padding: 1 }, /^.*: c is a 3 x 3 convolution of stride 2 and padding 1$/],
    [{ ...conv, kernel: 3, stride: 1, padding: 0 }, /stride 1 and padding 0$/],
    [{ ...conv, kernel: 1, stride: 1, padding: 1 }, /c is a 1 x 1 convolution of stride 1 and padding 1$/],
    [{ kind: 'maxpool', name: 'p', kernel: 3, stride: 2, padding: 1 }, /p is a 3 x 3 pooling with padding 1$/],
    [{ kind: 'add', name: 'a', other: 'b' }, /a adds the output of b$/],
    [{ kind: 'relu', name: 'r', input: 'b' }, /r does not read the layer before it, but b$/],
  ];
  for (const [layer, reason] of refused) {
    test(`auto does not take native for ${JSON.stringify(layer)}`, () => {
      const choice = chooseEngine('auto', true, inFp32([layer]));
      assert.equal(choice.engine, 'onnxruntime');
      assert.match(choice.reason, reason);
    });
  }
});

test('refuseMissing() throws only for native, and only where it is not built', () => {
  assert.throws(() => refuseMissing('native', false), { name: 'EngineChoiceError' });
  refuseMissing('native', true);
  refuseMissing('auto', false);
  refuseMissing('onnxruntime', false);
});

test('mayFallBack(): only from native, only where auto was asked for, never to another precision or instruction set', () => {
  const plain = { precision: 'fp32' } as const;
  assert.equal(mayFallBack('auto', 'native', plain), true);
  assert.equal(mayFallBack('auto', 'native', { ...plain, isa: 'auto' }), true);
  assert.equal(mayFallBack('auto', 'onnxruntime', plain), false);
  assert.equal(mayFallBack('native', 'native', plain), false);
  assert.equal(mayFallBack('auto', 'native', { ...plain, isa: 'avx2' }), false);
  for (const precision of ['bf16', 'bf16-classifier'] as const)
    assert.equal(mayFallBack('auto', 'native', { precision }), false);
});
