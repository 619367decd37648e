import { printTree } from '../network/describe.js';
import type { Layer, Layered } from '../network/layer.js';

/** What Python shows for `print(model)` (torch.nn.Module.__repr__ of torch 2.14), without a newline at the end. */
export function printResNet(network: Layered): string {
  return printTree(network.layers.flatMap(registered), (path) => {
    if (path === '') return 'ResNet';
    return /^layer\d+\.\d+$/.test(path) ? 'Bottleneck' : 'Sequential';
  });
}

/** A block registers its one ReLU, which runs three times, behind its last batch norm. */
function registered(layer: Layer): Layer[] {
  if (/\.relu(_\d)?$/.test(layer.name)) return [];
  const block = /^(.+)\.bn3$/.exec(layer.name)?.[1];
  return block === undefined ? [layer] : [layer, { kind: 'relu', name: `${block}.relu` }];
}
