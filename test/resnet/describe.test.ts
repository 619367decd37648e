import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resnets } from '../../src/resnet/configs.js';
import { printResNet } from '../../src/resnet/describe.js';
import { buildResNet } from '../../src/resnet/network.js';
import { printedBy } from '../network/reference.js';

test('printResNet(resnet50) is what print(torchvision.models.resnet50()) shows, byte for byte', () => {
  assert.equal(printResNet(buildResNet({ ...resnets.resnet50, classes: 1000 })), printedBy('resnet50'));
});

test('printResNet with a head of its own differs in the line of fc alone', () => {
  assert.equal(
    printResNet(buildResNet({ ...resnets.resnet50, classes: 37 })),
    printedBy('resnet50')?.replace('out_features=1000', 'out_features=37'),
  );
});
