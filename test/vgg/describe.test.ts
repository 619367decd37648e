import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BuilderName, builders } from '../../src/vgg/configs.js';
import { printNetwork } from '../../src/vgg/describe.js';
import { builderOptions, buildNetwork } from '../../src/vgg/network.js';
import { allKinds } from '../network/own-networks.js';
import { printedBy } from '../network/reference.js';

for (const builder of Object.keys(builders) as BuilderName[]) {
  test(`printNetwork(${builder}) is what print(torchvision.models.${builder}()) shows, byte for byte`, () => {
    assert.equal(printNetwork(buildNetwork(builderOptions(builder))), printedBy(builder));
  });
}

test('printNetwork of a network with every kind of layer is what PyTorch 2.14 shows', () => {
  assert.equal(
    printNetwork(buildNetwork(allKinds)),
    `VGG(
  (features): Sequential(
    (0): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    (1): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    (2): BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    (3): ReLU(inplace=True)
    (4): Conv2d(8, 12, kernel_size=(1, 1), stride=(1, 1))
    (5): BatchNorm2d(12, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    (6): ReLU(inplace=True)
    (7): LocalResponseNorm(5, alpha=0.0005, beta=0.75, k=2.0)
    (8): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    (9): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  )
  (avgpool): AdaptiveAvgPool2d(output_size=(2, 3))
  (classifier): Sequential(
    (0): Linear(in_features=72, out_features=20, bias=True)
    (1): ReLU(inplace=True)
    (2): Dropout(p=0.5, inplace=False)
    (3): Linear(in_features=20, out_features=20, bias=True)
    (4): ReLU(inplace=True)
    (5): Dropout(p=0.5, inplace=False)
    (6): Linear(in_features=20, out_features=5, bias=True)
  )
)`,
  );
});
