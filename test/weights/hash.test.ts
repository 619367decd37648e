import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { sha256OfFile } from '../../src/weights/hash.js';
import { temporaryFolder } from './temporary-files.js';

const folder = temporaryFolder();

describe('sha256OfFile', () => {
  it('gives the sha256 of a file that is longer than a chunk', async () => {
    const bytes = Buffer.alloc((1 << 20) + 1, 'vgg');
    assert.equal(await sha256OfFile(folder.write(bytes)), createHash('sha256').update(bytes).digest('hex'));
  });

  it('gives the known sha256 of an empty file', async () => {
    const known = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
    assert.equal(await sha256OfFile(folder.write('')), known);
  });

  it('rejects with the reason of a signal', async () => {
    const reason = new Error('unloaded');
    await assert.rejects(sha256OfFile(folder.write('vgg'), AbortSignal.abort(reason)), reason);
  });

  it('rejects when there is no file', async () => {
    await assert.rejects(sha256OfFile(join(folder.path, 'absent')), { code: 'ENOENT' });
  });
});
