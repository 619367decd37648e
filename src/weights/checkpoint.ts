import { resolve } from 'node:path';
import type { TensorEntry } from '../tensor.js';
import type { CheckpointReason } from './checkpoint-error.js';
import { CheckpointFile } from './checkpoint-file.js';
import { readSafetensors } from './safetensors.js';
import { readTorchLegacy } from './torch-legacy.js';
import { readTorchZip } from './torch-zip.js';

/** The index of a checkpoint: what it holds and where. The data stay in the file. */
export interface Checkpoint {
  /** Absolute. */
  readonly path: string;
  readonly container: 'zip' | 'legacy' | 'safetensors';
  readonly byteLength: number;
  /** Of the state dict, in its order: the wrapper and DataParallel's `module.` prefix are taken off. */
  readonly tensors: readonly TensorEntry[];
}

interface Container {
  readonly container: Checkpoint['container'];
  /** Over the first bytes in hex. */
  readonly pattern: RegExp;
  readonly read: (file: CheckpointFile) => Promise<TensorEntry[]>;
}

const headBytes = 512;

const containers: readonly Container[] = [
  { container: 'zip', pattern: /^504b0304/, read: readTorchZip },
  // A pickle (PROTO 2 to 5, a FRAME from 4 on) of the magic number 0x1950a86a20f9469cfc6c (LONG1, ten bytes, STOP).
  { container: 'legacy', pattern: /^800[2-5](95.{16})?8a0a6cfc9c46f9206aa850192e/, read: readTorchLegacy },
  // The header's length (uint64, below 2^56), then the header's first byte.
  { container: 'safetensors', pattern: /^.{14}007b/, read: readSafetensors },
];

/** What else is found under the name of a checkpoint; patterns over the first bytes as Latin-1. */
const strangers: readonly { reason: CheckpointReason; pattern: RegExp; seen: string }[] = [
  { reason: 'not_a_torch_pickle', pattern: /^\x80/, seen: 'This is a pickle of another program.' },
  { reason: 'html_page', pattern: /^(\xef\xbb\xbf)?\s*<[!?a-z]/i, seen: 'This is an HTML or XML page.' },
  { reason: 'git_lfs_pointer', pattern: /^version https:\/\/git-lfs/, seen: 'This is a Git LFS pointer.' },
  { reason: 'old_tar', pattern: /^.{257}ustar/s, seen: 'This is a tar archive.' },
];

/**
 * Reads the index of a PyTorch checkpoint (zip or legacy) or a safetensors file. The container is known by its first
 * bytes, never by the file's name; no tensor is read, and nothing in the file is ever run.
 * Throws CheckpointError, with a reason for each way in which a file can be wrong.
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const file = await CheckpointFile.open(resolve(path));
  try {
    const { container, read } = await recognise(file);
    return { path: file.path, container, byteLength: file.byteLength, tensors: await read(file) };
  } finally {
    await file.close();
  }
}

async function recognise(file: CheckpointFile): Promise<Container> {
  if (file.byteLength === 0) throw file.blame('empty_file', 'The file has no bytes.');
  const head = await file.read(0, Math.min(file.byteLength, headBytes));
  const hex = head.toString('hex');
  const found = containers.find(({ pattern }) => pattern.test(hex));
  if (found) return found;
  const stranger = strangers.find(({ pattern }) => pattern.test(head.toString('latin1')));
  if (stranger) throw file.blame(stranger.reason, stranger.seen);
  const firstBytes = hex.slice(0, 32).replace(/..(?=.)/g, '$& ');
  throw file.blame('not_a_checkpoint', `The first bytes (${firstBytes}) are of no known container.`);
}
