import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { FileLock, isAbandoned } from '../../src/weights/hub-lock.js';
import { temporaryFolder } from './temporary-files.js';

const folder = temporaryFolder().path;
let count = 0;

function newPath(): string {
  return join(folder, `${count++}.lock`);
}

async function take(t: TestContext, path: string): Promise<FileLock> {
  const lock = await FileLock.tryTake(path);
  assert.ok(lock);
  t.after(() => lock.release());
  return lock;
}

/** As `lock` was, but of a process that is no more. */
function deadOwner(text: string): string {
  const { pid } = spawnSync(process.execPath, ['-e', '']);
  return JSON.stringify({ ...JSON.parse(text), pid });
}

describe('FileLock.tryTake', () => {
  it('takes a lock once, and again after its release', async (t) => {
    const path = newPath();
    const lock = await take(t, path);
    assert.equal(await FileLock.tryTake(path), undefined);
    await lock.release();
    assert.equal(existsSync(path), false);
    await take(t, path);
  });

  it('gives the lock to one of many that ask for an abandoned one', async (t) => {
    const path = newPath();
    writeFileSync(path, '');
    utimesSync(path, 0, 0);
    const taken = (await Promise.all(Array.from({ length: 8 }, () => FileLock.tryTake(path)))).filter((lock) => lock);
    t.after(() => Promise.all(taken.map((lock) => lock?.release())));
    assert.equal(taken.length, 1);
  });

  it('leaves an abandoned lock to the one that is removing it, unless that has died too', async (t) => {
    const path = newPath();
    const guard = `${path}.breaking`;
    for (const name of [path, guard]) writeFileSync(name, '');
    utimesSync(path, 0, 0);
    assert.equal(await FileLock.tryTake(path), undefined);
    assert.ok(existsSync(path));
    utimesSync(guard, 0, 0);
    assert.equal(await FileLock.tryTake(path), undefined);
    await take(t, path);
    assert.equal(existsSync(guard), false);
  });

  it('takes over from a dead process of this host', async (t) => {
    const path = newPath();
    await take(t, path);
    writeFileSync(path, deadOwner(readFileSync(path, 'utf8')));
    await take(t, path);
  });

  it('throws what the file system throws', async () => {
    await assert.rejects(FileLock.tryTake(join(newPath(), 'a.lock')), { code: 'ENOENT' });
  });
});

describe('isAbandoned', () => {
  const now = 1_000_000;
  const owner = (pid: number, host: string) => JSON.stringify({ pid, host, token: 'x' });

  it('by the time of the last heartbeat', () => {
    const another = owner(1, 'another host');
    assert.equal(isAbandoned({ text: another, touchedAt: now - 20_000 }, now), false);
    assert.equal(isAbandoned({ text: another, touchedAt: now - 20_001 }, now), true);
  });

  it('leaves a young lock alone whose owner is not known', () => {
    for (const text of ['', '{', 'null', '{"pid":"1"}'])
      assert.equal(isAbandoned({ text, touchedAt: now }, now), false, text);
  });

  it('looks for the process on its own host only', async (t) => {
    const path = newPath();
    await take(t, path);
    const mine = readFileSync(path, 'utf8');
    const dead = deadOwner(mine);
    assert.equal(isAbandoned({ text: mine, touchedAt: now }, now), false);
    assert.equal(isAbandoned({ text: dead, touchedAt: now }, now), true);
    assert.equal(
      isAbandoned({ text: JSON.stringify({ ...JSON.parse(dead), host: 'another host' }), touchedAt: now }, now),
      false,
    );
  });
});

describe('a FileLock that is held', () => {
  it('is touched every two seconds', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const path = newPath();
    await take(t, path);
    utimesSync(path, 0, 0);
    t.mock.timers.tick(2000);
    while (statSync(path).mtimeMs === 0) await wait(1);
  });

  for (const [what, change] of Object.entries({
    'was taken by another': (path: string) => writeFileSync(path, 'another'),
    'was removed': (path: string) => rmSync(path),
  }))
    it(`says so when it ${what}, and leaves the other's alone`, async (t) => {
      const path = newPath();
      const lock = await take(t, path);
      await lock.beat();
      assert.equal(lock.lost.aborted, false);
      change(path);
      const left = existsSync(path);
      await lock.beat();
      assert.equal(lock.lost.aborted, true);
      await lock.release();
      assert.equal(existsSync(path), left);
    });
});
