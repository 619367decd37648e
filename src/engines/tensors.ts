import type { Layered } from '../network/layer.js';
import { stateDict } from '../network/state-dict.js';
import { elementCount, type TensorSource } from '../tensor.js';

/**
 * The tensors that the layers read: of all that a checkpoint holds, all but batch norm's counter.
 * @throws RangeError when a tensor is missing or does not fit the network
 */
export function tensorsOf(spec: Layered & { readonly tensors: readonly TensorSource[] }): TensorSource[] {
  const sources = new Map(spec.tensors.map((tensor) => [tensor.name, tensor]));
  return stateDict(spec)
    .filter(({ dtype }) => dtype === 'float32')
    .map(({ name, shape }) => {
      const source = sources.get(name);
      if (!source) throw new RangeError(`The tensor ${name} is missing; the network needs it as [${shape}].`);
      if (String(source.shape) !== String(shape) || source.byteLength !== elementCount(shape) * 4) {
        const seen = `[${source.shape}] in ${source.byteLength} bytes`;
        throw new RangeError(`The tensor ${name} is ${seen}; the network needs it as float32 [${shape}].`);
      }
      return source;
    });
}
