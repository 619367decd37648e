const saveAgain = 'Load it with torch and save the state dict alone: torch.save(model.state_dict(), path).';
const getAgain = 'Download or copy the file again, and compare its sha256 with the published one.';

/**
 * Every way in which a checkpoint can be wrong. The text is the second half of the error's message: what is allowed and
 * what to do next. The first half, what was seen, is written where it was seen.
 */
export const checkpointReasons = {
  // The file.
  file_not_found: 'Check the path, or download the file first.',
  file_unreadable: 'Check the permissions of the file and of the folders above it.',
  not_a_file: 'Name the checkpoint itself: a .pth or .safetensors file.',
  empty_file: `A download or a save stopped before its first byte. ${getAgain}`,
  html_page: 'The link led to a web page (a login or an error, often), not to the file: download the file itself.',
  git_lfs_pointer: 'It stands for a file that Git LFS keeps elsewhere: run git lfs pull.',
  old_tar: `Torch wrote such files in its first months; zip, legacy and safetensors are read. ${saveAgain}`,
  not_a_checkpoint: 'Allowed are files of torch.save (zip or legacy) and safetensors files.',
  truncated: `The file is shorter than its own index says. ${getAgain}`,

  // The zip container.
  zip_corrupt: getAgain,
  zip_entry_compressed: `Entries must be stored as torch.save stores them, since weights are read in place. ${saveAgain}`,
  zip_entry_encrypted: `Entries must be stored as torch.save stores them, since weights are read in place. ${saveAgain}`,
  zip_entries_overlap: `Each entry must have bytes of its own. ${getAgain}`,
  not_a_torch_zip: 'A zip file of torch.save has one folder, and data.pkl in it.',
  torchscript:
    'Only state dicts are read. Save that of the script: torch.save(torch.jit.load(path).state_dict(), new_path).',
  big_endian: 'Only little-endian files are read: load it with torch on a little-endian machine and save it again.',

  // The pickle.
  not_a_torch_pickle: `Pickles of torch.save start with torch's magic number and version 1001. ${saveAgain}`,
  unknown_opcode: `Only opcodes for plain data and tensors are read; nothing else is ever run. ${saveAgain}`,
  unknown_global: `Only names of a closed table are known; nothing is ever imported or called. ${saveAgain}`,
  pickle_malformed: `This is not how torch.save writes. ${getAgain}`,
  pickle_too_large: `A pickle may have 4 MiB, half a million opcodes and 65,536 tensors; a VGG's has some 10 kB. ${saveAgain}`,
  no_state_dict: `Expected is a dict of tensors by name, at the top or under state_dict, model_state_dict or model. ${saveAgain}`,
  storage_missing: getAgain,
  storage_conflict: `A storage has one dtype and one size. ${getAgain}`,

  // The tensors.
  unsupported_dtype:
    'Allowed are float32, float16, bfloat16 and float64 for weights, and int64, int32, int16, int8, uint8 and bool beside them: convert it with model.float().',
  out_of_range: `A tensor must lie inside its storage, and a storage inside the file. ${getAgain}`,
  negative_size: `Sizes, strides and offsets start at 0. ${getAgain}`,
  overflow: `Sizes must stay below 2^53. ${getAgain}`,

  // The safetensors container.
  header_too_large: `A safetensors header may have 4 MiB; a VGG's has some 4 kB. ${getAgain}`,
  header_malformed: `A safetensors header is a JSON object of {dtype, shape, data_offsets} by name, each name once. ${getAgain}`,
  size_mismatch: `data_offsets must span exactly the bytes that shape and dtype need. ${getAgain}`,
  ranges_overlap: `The tensors of a safetensors file must follow one another. ${getAgain}`,
  ranges_gap: `The tensors of a safetensors file must follow one another without holes. ${getAgain}`,
  bytes_left_over: `A safetensors file ends with its last tensor. ${getAgain}`,

  // The network.
  state_dict_mismatch:
    'The network that is built (cfg, batch_norm, pool, hidden, classes) must be the one that was saved.',
} as const satisfies Record<string, string>;

export type CheckpointReason = keyof typeof checkpointReasons;

const longestSeen = 16 << 10;

/** A checkpoint that cannot be read, or does not fit. The message says what was seen, what is allowed and what to do. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError';
  readonly reason: CheckpointReason;
  readonly path: string;

  /** @param seen one or more whole sentences; cut when a name in it is longer than any true one. */
  constructor(reason: CheckpointReason, path: string, seen: string, options?: ErrorOptions) {
    super(`${path}: ${seen.slice(0, longestSeen)} ${checkpointReasons[reason]}`, options);
    this.reason = reason;
    this.path = path;
  }
}

/** Makes the error of one file, for code that has bytes but not the path they came from. */
export type Blame = (reason: CheckpointReason, seen: string) => CheckpointError;
