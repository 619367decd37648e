import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cfgs } from '../../src/vgg/configs.js';
import { makeLayers } from '../../src/vgg/layers.js';
import { ownCfg } from '../network/own-networks.js';

test('makeLayers(A-LRN) normalises once, after the first ReLU', () => {
  assert.deepEqual(makeLayers(cfgs['A-LRN'], { batchNorm: false }).slice(0, 5), [
    { kind: 'conv', name: 'features.0', inChannels: 3, outChannels: 64, kernel: 3, padding: 1, stride: 1, bias: true },
    { kind: 'relu', name: 'features.1' },
    { kind: 'lrn', name: 'features.2', size: 5, alpha: 0.0005, beta: 0.75, k: 2 },
    { kind: 'maxpool', name: 'features.3', kernel: 2, stride: 2, padding: 0 },
    {
      kind: 'conv',
      name: 'features.4',
      inChannels: 64,
      outChannels: 128,
      kernel: 3,
      padding: 1,
      stride: 1,
      bias: true,
    },
  ]);
  const lrns = makeLayers(cfgs['A-LRN'], { batchNorm: false }).filter(({ kind }) => kind === 'lrn');
  assert.equal(lrns.length, 1);
});

test('makeLayers(C) ends each of the last three blocks with an unpadded 1x1 convolution', () => {
  const pointwise = makeLayers(cfgs.C, { batchNorm: false }).filter(
    (layer) => layer.kind === 'conv' && layer.kernel === 1,
  );
  assert.deepEqual(pointwise, [
    {
      kind: 'conv',
      name: 'features.14',
      inChannels: 256,
      outChannels: 256,
      kernel: 1,
      padding: 0,
      stride: 1,
      bias: true,
    },
    {
      kind: 'conv',
      name: 'features.21',
      inChannels: 512,
      outChannels: 512,
      kernel: 1,
      padding: 0,
      stride: 1,
      bias: true,
    },
    {
      kind: 'conv',
      name: 'features.28',
      inChannels: 512,
      outChannels: 512,
      kernel: 1,
      padding: 0,
      stride: 1,
      bias: true,
    },
  ]);
});

test('makeLayers with batch norm puts one between each convolution and its ReLU, 1x1 ones included', () => {
  const layers = makeLayers([8, 'conv1-12'], { batchNorm: true });
  assert.deepEqual(
    layers.map(({ kind }) => kind),
    ['conv', 'batchnorm', 'relu', 'conv', 'batchnorm', 'relu'],
  );
  assert.deepEqual(layers[4], { kind: 'batchnorm', name: 'features.4', channels: 12, eps: 1e-5 });
});

test('makeLayers of a list that starts with M pools the picture', () => {
  assert.deepEqual(makeLayers(['M', 8], { batchNorm: false }), [
    { kind: 'maxpool', name: 'features.0', kernel: 2, stride: 2, padding: 0 },
    { kind: 'conv', name: 'features.1', inChannels: 3, outChannels: 8, kernel: 3, padding: 1, stride: 1, bias: true },
    { kind: 'relu', name: 'features.2' },
  ]);
});

test('makeLayers of any list numbers its layers without a gap and chains their channels', () => {
  fc.assert(
    fc.property(ownCfg, fc.boolean(), (cfg, batchNorm) => {
      const layers = makeLayers(cfg, { batchNorm });
      let channels = 3;
      for (const [index, layer] of layers.entries()) {
        assert.equal(layer.name, `features.${index}`);
        if (layer.kind === 'batchnorm') assert.equal(layer.channels, channels);
        if (layer.kind !== 'conv') continue;
        assert.equal(layer.inChannels, channels);
        channels = layer.outChannels;
      }
      assert.equal(layers.filter(({ kind }) => kind === 'maxpool').length, cfg.filter((item) => item === 'M').length);
    }),
  );
});
