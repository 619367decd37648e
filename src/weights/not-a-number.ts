import type { Checkpoint } from './checkpoint.js';
import { CheckpointFile } from './checkpoint-file.js';
import { isFloatDtype } from './float-formats.js';
import { readInOrder } from './gather.js';

/** Whether any number in a tensor of the checkpoint is NaN; false where there is no such tensor, or it holds whole numbers. */
export async function holdsNaN(checkpoint: Checkpoint, tensorName: string): Promise<boolean> {
  const tensor = checkpoint.tensors.find(({ name }) => name === tensorName);
  if (tensor === undefined || !isFloatDtype(tensor.dtype)) return false;
  const file = await CheckpointFile.open(checkpoint.path);
  try {
    for await (const chunk of readInOrder(file, { ...tensor, dtype: tensor.dtype })) {
      if (chunk.some(Number.isNaN)) return true;
    }
    return false;
  } finally {
    await file.close();
  }
}
