import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseKeyFile } from '../../src/access/key-file.js';
import { Keyring } from '../../src/access/keyring.js';
import { run } from './command.js';

for (const admin of [false, true]) {
  test(`vgg-serve key${admin ? ' --admin' : ''}: the key, and a line of the file that lets it in`, async () => {
    const { code, stdout, stderr } = await run(['key', 'ci.runner', ...(admin ? ['--admin'] : [])]);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    const [key = '', line = '', ...rest] = stdout.split('\n');
    assert.deepEqual(rest, ['']);
    assert.match(key, /^vgs_[\w-]{43}$/);
    const holder = new Keyring(parseKeyFile(line, 'keys'), true).find(key);
    assert.deepEqual([holder?.name, holder?.admin], ['ci.runner', admin]);
  });
}

test('vgg-serve key --json', async () => {
  const { stdout } = await run(['key', 'ada', '--json']);
  const { key, line, ...rest } = JSON.parse(stdout) as Record<string, string>;
  assert.deepEqual(rest, { name: 'ada', admin: false });
  assert.equal(new Keyring(parseKeyFile(String(line), 'keys'), true).find(String(key))?.name, 'ada');
});

test('vgg-serve key with a name that cannot stand in the file', async () => {
  const { code, stdout, stderr } = await run(['key', 'ada:admin']);
  assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
  assert.equal(
    stderr,
    'vgg-serve: "ada:admin" cannot be the name of a key: a name is 1 to 64 letters, digits, and _ . -\n',
  );
  assert.equal((await run(['key'])).code, 2);
});
