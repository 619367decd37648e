import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { it } from 'node:test';
import { checkpointsFolder } from '../../src/weights/hub-folder.js';

const folders: [string, NodeJS.ProcessEnv, string][] = [
  ['TORCH_HOME', { HOME: '/home/ada', TORCH_HOME: '/data/torch', XDG_CACHE_HOME: '/xdg' }, '/data/torch'],
  ['TORCH_HOME with ~', { HOME: '/home/ada', TORCH_HOME: '~/torch' }, '/home/ada/torch'],
  ['TORCH_HOME with ~ inside', { HOME: '/home/ada', TORCH_HOME: '/data/~ada' }, '/data/~ada'],
  ['a relative TORCH_HOME', { HOME: '/home/ada', TORCH_HOME: 'torch' }, resolve('torch')],
  ['XDG_CACHE_HOME', { HOME: '/home/ada', XDG_CACHE_HOME: '/xdg' }, '/xdg/torch'],
  ['HOME', { HOME: '/home/ada' }, '/home/ada/.cache/torch'],
  ['empty variables', { HOME: '/home/ada', TORCH_HOME: '', XDG_CACHE_HOME: '' }, '/home/ada/.cache/torch'],
  ['no variable', {}, join(homedir(), '.cache/torch')],
];
for (const [what, env, torchHome] of folders)
  it(`checkpointsFolder by ${what}`, () => {
    assert.equal(checkpointsFolder(env), join(torchHome, 'hub/checkpoints'));
  });
