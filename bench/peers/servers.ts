import { fileURLToPath } from 'node:url';
import { availableCpus } from '../../src/cpus.js';

export const models = ['vgg16', 'fashion-vgg'] as const;
export type ModelName = (typeof models)[number];

/** What a server is started with. */
export interface Start {
  readonly model: ModelName;
  readonly python: string;
  /** Of the same weights. */
  readonly files: { readonly pth: string; readonly onnx: string };
  /** The server's own; it need not be there yet. */
  readonly folder: string;
  /** Free, as are the four after it. */
  readonly port: number;
}

export interface Server {
  readonly name: string;
  /** All others are peers. */
  readonly isOurs: boolean;
  /** Whether its answers are those of float32. */
  readonly isExact: boolean;
  /** Where pictures are posted. */
  path(model: ModelName): string;
  command(start: Start): {
    readonly program: string;
    readonly args: readonly string[];
    readonly env: NodeJS.ProcessEnv;
  };
}

/** Each has all CPUs: its workers share them. */
const peerRows = [
  { name: 'mosec-onnxruntime', front: 'mosec', engine: 'onnxruntime', workers: 1 },
  { name: 'mosec-onnxruntime-w2', front: 'mosec', engine: 'onnxruntime', workers: 2 },
  { name: 'mosec-openvino', front: 'mosec', engine: 'openvino', workers: 1 },
  { name: 'mosec-openvino-w2', front: 'mosec', engine: 'openvino', workers: 2 },
  { name: 'mosec-torch', front: 'mosec', engine: 'torch', workers: 1 },
  { name: 'fastapi-onnxruntime', front: 'fastapi', engine: 'onnxruntime', workers: 1 },
  { name: 'fastapi-onnxruntime-w2', front: 'fastapi', engine: 'onnxruntime', workers: 2 },
  { name: 'torchserve', front: 'torchserve', engine: 'torch', workers: 1 },
] as const;

export const servers: readonly Server[] = [
  ours('vgg-serve', []),
  ours('vgg-serve-bf16', ['--precision', 'bf16']),
  ...peerRows.map(peer),
];

function ours(name: string, flags: readonly string[]): Server {
  const cli = fileURLToPath(new URL('../../src/cli.js', import.meta.url));
  return {
    name,
    isOurs: true,
    isExact: flags.length === 0,
    path: () => '/classify',
    command({ model, files, port }) {
      const name = model === 'vgg16' ? `vgg16=${files.pth}` : model;
      const args = ['serve', '--model', name, '--port', String(port), '--engine', 'native', '--log-level', 'warn'];
      return { program: process.execPath, args: [cli, ...args, ...flags], env: {} };
    },
  };
}

function peer({ name, front, engine, workers }: (typeof peerRows)[number]): Server {
  const source = (file: string) => fileURLToPath(new URL(`../../../bench/peers/${file}`, import.meta.url));
  const arguments_ = {
    mosec: ({ port }: Start) => {
      // The request's limit in ms and the queue's: by default requests end after 3 s.
      return [source('mosec_server.py'), '--port', `${port}`, '--timeout', '600000', '--capacity', '1024'];
    },
    fastapi: ({ port }: Start) => {
      const loop = ['--loop', 'uvloop', '--http', 'httptools', '--workers', `${workers}`];
      const app = ['--app-dir', source('.'), 'fastapi_server:app', '--port', `${port}`];
      return ['-m', 'uvicorn', ...app, ...loop, '--no-access-log', '--log-level', 'warning'];
    },
    torchserve: ({ port, folder }: Start) => [source('torchserve_server.py'), `${port}`, folder],
  };
  const paths = {
    mosec: () => '/inference',
    fastapi: () => '/classify',
    torchserve: (m: string) => `/predictions/${m}`,
  };
  return {
    name,
    isOurs: false,
    isExact: true,
    path: paths[front],
    command(start) {
      const threads = String(Math.max(1, Math.floor(availableCpus() / workers)));
      const weights = engine === 'torch' ? start.files.pth : start.files.onnx;
      return {
        program: start.python,
        args: ['-W', 'ignore', ...arguments_[front](start)],
        env: {
          ...{ MODEL: start.model, ENGINE: engine, WEIGHTS: weights },
          ...{ WORKERS: String(workers), THREADS: threads, OMP_NUM_THREADS: threads },
          PYTHONDONTWRITEBYTECODE: '1',
        },
      };
    },
  };
}
