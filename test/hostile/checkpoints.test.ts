import assert from 'node:assert/strict';
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { run } from '../cli/command.js';
import { called, pickled } from '../weights/pickle-builder.js';
import { temporaryFolder } from '../weights/temporary-files.js';
import { hostileCheckpoints, payloadOf } from './checkpoints.js';
import { canMeasure } from './memory.js';
import type { Read } from './read-checkpoints.js';

const folder = temporaryFolder();
/** The payloads make it, were one of them run. */
const marker = join(folder.path, 'marker');

describe('hostile checkpoints, read in a process of their own', () => {
  let files: readonly Read[] = [];

  before(async () => {
    const script = fileURLToPath(new URL('./read-checkpoints.js', import.meta.url));
    const child = fork(script, [marker], { execArgv: ['--expose-gc'] });
    child.on('message', (read: readonly Read[]) => (files = read));
    const [code] = await once(child, 'exit');
    assert.equal(code, 0);
  });

  it('end in an error by name, or are read where nothing is wrong with them', () => {
    assert.ok(files.length > 200);
    assert.deepEqual(
      files.filter(({ isExpected }) => !isExpected),
      [],
    );
  });

  it('take less than a second', () => {
    assert.deepEqual(
      files.filter(({ ms, cpuMs }) => Math.min(ms, cpuMs) >= 1000),
      [],
    );
  });

  it('take less than 200 MB', (t) => {
    if (!canMeasure) return t.skip('Only Linux says what a process holds.');
    assert.deepEqual(
      files.filter(({ peakBytes }) => peakBytes >= 200e6),
      [],
    );
  });

  it('run nothing', () => assert.equal(existsSync(marker), false));
});

describe('a hostile checkpoint by the command', () => {
  const cases = hostileCheckpoints(marker);
  const make = (name: string) => cases.find((entry) => entry.name === name)?.make() as Buffer;
  const manifest = (file: string) =>
    JSON.stringify({
      name: 'evil',
      weights: { name: 'EVIL', file },
      network: { cfg: [4, 'M'], batch_norm: false, pool: [1, 1], hidden: 4, classes: 3 },
      transforms: { resize: 8, crop: 8, mean: [0, 0, 0], std: [1, 1, 1] },
      categories: ['a', 'b', 'c'],
    });

  it('verify, init, describe, and a model that is loaded from it, name what is wrong', async () => {
    const path = folder.write(make('zip: os.system is called'), 'evil.pth');
    const manifestPath = folder.write(manifest('evil.pth'), 'evil.json');
    const picture = folder.write('', 'picture.jpg');
    for (const args of [
      ['verify', path],
      ['init', path],
      ['describe', manifestPath, '--graph', join(folder.path, 'graph.onnx')],
      ['classify', '--model', manifestPath, picture],
    ]) {
      const { code, stdout, stderr } = await run(args, { XDG_CACHE_HOME: folder.path });
      assert.notEqual(code, 0, args.join(' '));
      assert.match(stdout + stderr, /imports "os\.system"/, args.join(' '));
    }
    assert.equal(existsSync(marker), false);
  });
});

describe('the payload', () => {
  it('is one that Python would run', async (t) => {
    const path = join(folder.path, 'by-python');
    await writeFile(`${path}.pkl`, pickled(called('os.system', payloadOf(path))));
    const script = 'import pickle, sys; pickle.load(open(sys.argv[1], "rb"))';
    const python = await promisify(execFile)('python3', ['-c', script, `${path}.pkl`]).catch((error) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (!python) return t.skip('There is no python3 on this machine.');
    assert.equal(existsSync(path), true);
  });
});
