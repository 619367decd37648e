import { closeSync, fstatSync, openSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { parse, relative } from 'node:path';
import { env, InferenceSession, Tensor } from 'onnxruntime-node';
import type { TensorSource } from '../../tensor.js';
import type { Engine, EngineInfo, EngineSpec } from '../engine.js';
import { type FileStamp, OtherFileError, refuseOther } from '../file-stamp.js';
import { inputName, onnxModel, outputName } from './graph.js';

/**
 * ONNX Runtime on the CPU, in this process. Its runs are synchronous: they block the event loop until the logits are there.
 * @throws Error when a file of weights is not there, or ONNX Runtime refuses the network; RangeError for another
 *   precision than fp32
 */
export async function openSession(spec: EngineSpec): Promise<Engine> {
  if (spec.precision !== 'fp32') throw new RangeError(`onnxruntime computes in fp32 here, not in ${spec.precision}.`);
  // From 1.29 on the published builds send usage data to Microsoft unless this is set before the first session.
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  const { folder, tensors } = await relativeToRoot(spec.tensors);
  const files = holdFiles(spec.files ?? []);
  const creating = InferenceSession.create(onnxModel({ ...spec, tensors }), {
    executionProviders: [spec.gpu ? 'cuda' : 'cpu'],
    intraOpNumThreads: spec.threads,
    interOpNumThreads: 1,
    // A memory pattern is a second arena block for each batch size seen: 400 MB for VGG-16 at 16, and no faster.
    enableMemPattern: false,
    extra: {
      session: {
        model_external_initializers_file_folder_path: folder,
        // Without CUDA's libraries, or for an operation that they lack, it would go on on the CPU and say nothing.
        ...(spec.gpu && { disable_cpu_ep_fallback: '1' }),
        // Else the classifier is read where it lies. A packed copy of VGG-16's weights is 530 MB and takes 0.6 s to make;
        // it saves nothing at batch 1, 3 % at 8.
        disable_prepacking: spec.prepack ? '0' : '1',
        // A waiting thread sleeps instead of burning the CPU that decoding needs.
        intra_op: { allow_spinning: '0' },
      },
    },
  });
  let session: InferenceSession;
  try {
    session = await creating.catch((error: Error) => {
      throw spec.gpu ? cudaMissing(error) : error;
    });
    files.refuseReplaced();
  } finally {
    files.close();
  }
  const info: EngineInfo = {
    engine: 'onnxruntime',
    version: env.versions.node ?? 'unknown',
    device: spec.gpu ? 'gpu' : 'cpu',
    ...(spec.gpu && { deviceName: spec.gpu.name, deviceMemoryMb: spec.gpu.memoryMb }),
    precision: 'fp32',
    threads: spec.threads,
  };
  const size = spec.inputSize;
  return {
    info,
    async run(pixels, n) {
      const startedAt = performance.now();
      const { [outputName]: logits } = await session.run({
        [inputName]: new Tensor('uint8', pixels, [n, size, size, 3]),
      });
      const computeMs = performance.now() - startedAt;
      if (!(logits?.data instanceof Float32Array)) throw new TypeError(`${outputName} is not float32`);
      return { logits: logits.data, computeMs };
    },
    close: () => session.release(),
  };
}

function cudaMissing(error: Error): Error {
  return new Error(
    `ONNX Runtime does not run this network on the GPU: ${error.message}. Its CUDA libraries come by its install script ` +
      '(npm rebuild --ignore-scripts=false onnxruntime-node; docs/gpu.md); or take --device cpu.',
    { cause: error },
  );
}

/**
 * ONNX Runtime accepts only files below one folder, and looks behind symbolic links. The root of the file system is
 * above them all.
 */
async function relativeToRoot(
  tensors: readonly TensorSource[],
): Promise<{ folder: string; tensors: readonly TensorSource[] }> {
  const real = new Map<string, string>();
  for (const path of new Set(tensors.map((tensor) => tensor.path))) {
    real.set(
      path,
      await realpath(path).catch((error) => {
        throw new Error(`The weights cannot be read: ${error.message}`, { cause: error });
      }),
    );
  }
  const folder = parse([...real.values()][0] ?? process.cwd()).root;
  return {
    folder,
    tensors: tensors.map((tensor) => ({ ...tensor, path: relative(folder, real.get(tensor.path) ?? '') })),
  };
}

/**
 * ONNX Runtime opens the files by their paths. Each is held open meanwhile, so that its inode cannot become another file's;
 * a path that leads to the same inode before and after, whose ctime has stood still (a rename away and back moves it), was
 * opened as that file.
 * @throws OtherFileError, here or in refuseReplaced()
 */
function holdFiles(stamps: readonly FileStamp[]): { refuseReplaced(): void; close(): void } {
  const held: { readonly path: string; readonly fd: number; readonly ctimeNs: bigint }[] = [];
  const close = () => {
    for (const { fd } of held) closeSync(fd);
  };
  try {
    for (const { path } of stamps) {
      const fd = openSync(path, 'r');
      held.push({ path, fd, ctimeNs: fstatSync(fd, { bigint: true }).ctimeNs });
      refuseOther(stamps, path, fd);
    }
  } catch (error) {
    close();
    throw error;
  }
  return {
    refuseReplaced() {
      for (const { path, fd, ctimeNs } of held) {
        const now = openSync(path, 'r');
        try {
          refuseOther(stamps, path, now);
        } finally {
          closeSync(now);
        }
        if (fstatSync(fd, { bigint: true }).ctimeNs === ctimeNs) continue;
        throw new OtherFileError(`${path} was moved or changed while it was being opened: load the model again.`);
      }
    },
    close,
  };
}
