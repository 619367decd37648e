import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { contiguousStrides, type Dtype, type StateDictEntry, type TensorEntry } from '../../src/tensor.js';
import type { Checkpoint } from '../../src/weights/checkpoint.js';
import { matchStateDict } from '../../src/weights/match.js';

const expected: readonly StateDictEntry[] = [
  { name: 'features.0.weight', shape: [8, 3, 3, 3], kind: 'parameter', dtype: 'float32' },
  { name: 'features.1.running_mean', shape: [8], kind: 'buffer', dtype: 'float32' },
  { name: 'features.1.num_batches_tracked', shape: [], kind: 'buffer', dtype: 'int64' },
  { name: 'classifier.6.weight', shape: [1000, 48], kind: 'parameter', dtype: 'float32' },
];
const right = [
  row('classifier.6.weight', [1000, 48]),
  row('features.0.weight', [8, 3, 3, 3]),
  row('features.1.running_mean', [8]),
];
const inOrder = ['features.0.weight', 'features.1.running_mean', 'classifier.6.weight'];

describe('matchStateDict', () => {
  it('gives the float32 entries in the order of the network', () => {
    assert.deepEqual(names(matchStateDict(expected, checkpoint(right))), inOrder);
  });

  it('checks num_batches_tracked when it is there, and leaves it out', () => {
    const tracked = row('features.1.num_batches_tracked', [], 'int64');
    assert.deepEqual(names(matchStateDict(expected, checkpoint([...right, tracked]))), inOrder);
    assert.deepEqual(names(matchStateDict(expected, checkpoint([...right, { ...tracked, shape: [1] }]))), inOrder);
    assert.throws(
      () => matchStateDict(expected, checkpoint([...right, { ...tracked, shape: [2] }])),
      /torch.Size\(\[2\]\)/,
    );
  });

  for (const dtype of ['float16', 'bfloat16', 'float64'] as const)
    it(`accepts ${dtype}`, () => {
      const tensors = right.map((entry) => ({ ...entry, dtype }));
      assert.deepEqual(names(matchStateDict(expected, checkpoint(tensors))), inOrder);
    });

  it('lists all that is missing, unexpected and misshapen at once, in the words of load_state_dict', () => {
    const tensors = [row('classifier.6.weight', [10, 48]), row('features.9.bias', [3]), row('fc.weight', [2])];
    assert.throws(() => matchStateDict(expected, checkpoint(tensors)), {
      name: 'CheckpointError',
      reason: 'state_dict_mismatch',
      message: [
        '/weights.pth: Error(s) in loading state_dict for VGG:',
        '\tMissing key(s) in state_dict: "features.0.weight", "features.1.running_mean". ',
        '\tUnexpected key(s) in state_dict: "features.9.bias", "fc.weight". ',
        '\tsize mismatch for classifier.6.weight: copying a param with shape torch.Size([10, 48]) from checkpoint, the shape in current model is torch.Size([1000, 48]).',
        ' The network that is built (cfg, batch_norm, pool, hidden, classes) must be the one that was saved.',
      ].join('\n'),
    });
  });

  it('tells another rank from another size', () => {
    const tensors = [row('features.0.weight', [8, 27]), ...right.filter(({ name }) => name !== 'features.0.weight')];
    assert.throws(() => matchStateDict(expected, checkpoint(tensors)), /shape torch.Size\(\[8, 27\]\) from checkpoint/);
  });

  it('refuses weights of another dtype by its name', () => {
    const tensors = right.map((entry) => ({ ...entry, dtype: 'int8' as const }));
    assert.throws(
      () => matchStateDict(expected, checkpoint(tensors)),
      /dtype mismatch for features\.0\.weight: int8 in checkpoint, allowed are float32, float16, bfloat16, float64\./,
    );
  });
});

function row(name: string, shape: readonly number[], dtype: Dtype = 'float32'): TensorEntry {
  return { name, dtype, shape, strides: contiguousStrides(shape), byteOffset: 0, byteLength: 0 };
}

function checkpoint(tensors: readonly TensorEntry[]): Checkpoint {
  return { path: '/weights.pth', container: 'zip', byteLength: 0, tensors };
}

function names(entries: readonly TensorEntry[]): string[] {
  return entries.map(({ name }) => name);
}
