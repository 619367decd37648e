import { printTree } from '../network/describe.js';
import type { Layered } from '../network/layer.js';

/** What Python shows for `print(model)` (torch.nn.Module.__repr__ of torch 2.14), without a newline at the end. */
export function printNetwork(network: Layered): string {
  return printTree(network.layers, (path) => (path === '' ? 'VGG' : 'Sequential'));
}
