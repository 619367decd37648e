/** Loads TensorFlow and says on its standard output, as JSON, what it uses. Its standard error tells why: gpu.ts reads it. */
import { loadTensorFlow } from './tensorflow.js';

export type ProbeAnswer = { readonly isUsingGpu: boolean } | { readonly error: string };

function probe(): ProbeAnswer {
  try {
    return { isUsingGpu: loadTensorFlow(1).backend().isUsingGpuDevice };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

process.stdout.write(JSON.stringify(probe()));
