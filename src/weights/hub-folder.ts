import { mkdir, stat, statfs } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { HubError, type HubReason, inMegabytes } from './hub-error.js';

/**
 * Where torch keeps its checkpoints: `$TORCH_HOME/hub/checkpoints`; without TORCH_HOME, `$XDG_CACHE_HOME/torch/hub/checkpoints`
 * or `~/.cache/torch/hub/checkpoints` (torch.hub.get_dir). As in torch, a leading ~ is the home folder and a relative
 * path starts at the working directory. An empty variable counts as none.
 */
export function checkpointsFolder(env: NodeJS.ProcessEnv): string {
  const home = env.HOME || homedir();
  const torchHome = env.TORCH_HOME || join(env.XDG_CACHE_HOME || join(home, '.cache'), 'torch');
  return resolve(torchHome.replace(/^~(?=\/|$)/, home), 'hub', 'checkpoints');
}

/** Whether the file lies there with at least one byte. Its name vouches for the rest: it was checked when it was written. */
export async function isThere(path: string): Promise<boolean> {
  try {
    const found = await stat(path);
    return found.isFile() && found.size > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

export async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
}

/** Throws HubError `no_space` when the folder's file system has less room than that. One that does not tell has enough. */
export async function checkSpace(folder: string, file: string, neededBytes: number): Promise<void> {
  const system = await statfs(folder).catch(() => undefined);
  if (system === undefined || neededBytes <= system.bavail * system.bsize) return;
  const free = inMegabytes(system.bavail * system.bsize);
  throw new HubError(
    'no_space',
    file,
    `${inMegabytes(neededBytes)} are still to come, but ${folder} has ${free} free.`,
  );
}

const reasonOfCode: Readonly<Record<string, HubReason>> = {
  ENOSPC: 'no_space',
  EDQUOT: 'no_space',
  EFBIG: 'no_space',
  EACCES: 'no_permission',
  EPERM: 'no_permission',
  EROFS: 'read_only',
};

/** What a call of the file system threw, as an error that says what to do. */
export function folderError(error: NodeJS.ErrnoException, folder: string, file: string): HubError {
  const reason = reasonOfCode[error.code ?? ''] ?? 'folder_unusable';
  return new HubError(reason, file, `${folder} cannot hold it: ${error.message}.`, { cause: error });
}
