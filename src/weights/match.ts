import type { Dtype, StateDictEntry, TensorEntry } from '../tensor.js';
import type { Checkpoint } from './checkpoint.js';
import { CheckpointError } from './checkpoint-error.js';

const floatDtypes: readonly Dtype[] = ['float32', 'float16', 'bfloat16', 'float64'];

/**
 * Strict, as torch's `load_state_dict`: the checkpoint has every tensor of the network in its shape, and no other. Only
 * `num_batches_tracked` may be absent; it is left out of the result, since inference never reads it.
 * @param expected the network's state dict
 * @returns the checkpoint's rows for the float32 entries, in the order of `expected`
 * Throws CheckpointError `state_dict_mismatch`, whose message lists everything that is wrong in torch's words.
 */
export function matchStateDict(expected: readonly StateDictEntry[], checkpoint: Checkpoint): TensorEntry[] {
  const tensors = new Map(checkpoint.tensors.map((tensor) => [tensor.name, tensor]));
  const known = new Set(expected.map(({ name }) => name));
  const pairs = expected.map((entry) => ({ entry, tensor: tensors.get(entry.name) }));

  const missing = pairs.filter(({ entry, tensor }) => !tensor && entry.dtype === 'float32').map(({ entry }) => entry);
  const unexpected = checkpoint.tensors.filter(({ name }) => !known.has(name));
  const problems = [
    ...(missing.length > 0 ? [`Missing key(s) in state_dict: ${quoted(missing)}. `] : []),
    ...(unexpected.length > 0 ? [`Unexpected key(s) in state_dict: ${quoted(unexpected)}. `] : []),
    ...pairs.flatMap(({ entry, tensor }) => (tensor ? misfits(entry, tensor) : [])),
  ];
  if (problems.length > 0)
    throw new CheckpointError(
      'state_dict_mismatch',
      checkpoint.path,
      `Error(s) in loading state_dict for VGG:\n\t${problems.join('\n\t')}\n`,
    );
  return pairs.flatMap(({ entry, tensor }) => (tensor && entry.dtype === 'float32' ? [tensor] : []));
}

function misfits({ name, shape, dtype }: StateDictEntry, tensor: TensorEntry): string[] {
  // Torch before 0.4 had no scalars: it wrote [1] for [].
  const fits = sameShape(shape, tensor.shape) || (shape.length === 0 && sameShape([1], tensor.shape));
  if (!fits)
    return [
      `size mismatch for ${name}: copying a param with shape ${sizeOf(tensor.shape)} from checkpoint, ` +
        `the shape in current model is ${sizeOf(shape)}.`,
    ];
  if (dtype === 'float32' && !floatDtypes.includes(tensor.dtype))
    return [`dtype mismatch for ${name}: ${tensor.dtype} in checkpoint, allowed are ${floatDtypes.join(', ')}.`];
  return [];
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

function sizeOf(shape: readonly number[]): string {
  return `torch.Size([${shape.join(', ')}])`;
}

function quoted(entries: readonly { readonly name: string }[]): string {
  return entries.map(({ name }) => `"${name}"`).join(', ');
}
