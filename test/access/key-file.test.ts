import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { digestOf, makeKey, mostKeys, nameProblem, parseKeyFile, readKeyFile } from '../../src/access/key-file.js';
import { temporaryDir } from '../cli/command.js';

const ada = makeKey('ada', false);
const root = makeKey('root', true);
const hex = digestOf('a').toString('hex');

test('makeKey: a key of 256 random bits, and a line that holds its hash alone', () => {
  assert.match(ada.key, /^vgs_[\w-]{43}$/);
  assert.notEqual(ada.key, makeKey('ada', false).key);
  assert.equal(ada.line, `ada:${digestOf(ada.key).toString('hex')}`);
  assert.equal(root.line, `root:${digestOf(root.key).toString('hex')}:admin`);
});

test('parseKeyFile: keys, comments, empty lines, spaces around, CRLF, capital digits', () => {
  const text = `\uFEFF# who may ask\r\n\r\n  ${ada.line}  \n\t# another: ${hex}\n${root.line}\r\nA.b-c_9:${hex.toUpperCase()}`;
  assert.deepEqual(parseKeyFile(text, 'keys'), [
    { name: 'ada', digest: digestOf(ada.key), admin: false },
    { name: 'root', digest: digestOf(root.key), admin: true },
    { name: 'A.b-c_9', digest: digestOf('a'), admin: false },
  ]);
});

for (const [what, line, message] of [
  ['no hash', 'sesame', 'after the name there are not the 64 digits of a SHA-256'],
  ['the key in place of its hash', `sesame:${ada.key}`, 'after the name there are not the 64 digits of a SHA-256'],
  ['a hash that is too short', `sesame:${hex.slice(1)}`, 'after the name there are not the 64 digits of a SHA-256'],
  ['no name', `:${hex}`, 'the name before the first colon is not 1 to 64 letters'],
  ['a space in the name', `open sesame:${hex}`, 'the name before the first colon is not 1 to 64 letters'],
  ['a name of 65 letters', `${'s'.repeat(65)}:${hex}`, 'the name before the first colon is not 1 to 64 letters'],
  ['another role', `sesame:${hex}:sesame`, 'after the hash only :admin may follow'],
  ['a fourth field', `sesame:${hex}:admin:`, 'after the hash only :admin may follow'],
  ['a comment behind', `sesame:${hex} # sesame`, 'after the name there are not the 64 digits of a SHA-256'],
  ['a name that was there', `ada:${hex}`, 'it has the name of line 2'],
  ['a key that was there', ada.line.replace('ada', 'sesame'), 'it has the key of line 2'],
] as const) {
  test(`parseKeyFile of a line with ${what}: names the line, and shows nothing of it`, () => {
    assert.throws(
      () => parseKeyFile(`#\n${ada.line}\n\n${line}\n`, '/etc/keys'),
      (error: Error) => {
        assert.equal(error.name, 'AccessError');
        assert.ok(error.message.startsWith(`--api-key-file /etc/keys, line 4: ${message}`), error.message);
        assert.doesNotMatch(error.message, new RegExp(`sesame|${hex.slice(1)}|vgs_`));
        return true;
      },
    );
  });
}

test('parseKeyFile of names that JavaScript reserves', () => {
  const names = ['__proto__', 'constructor', 'toString'];
  const credentials = parseKeyFile(names.map((name) => makeKey(name, false).line).join('\n'), 'keys');
  assert.deepEqual(
    credentials.map(({ name }) => name),
    names,
  );
});

test('parseKeyFile without keys', () => {
  for (const text of ['', '\n', '# none yet\n'])
    assert.throws(() => parseKeyFile(text, 'keys'), {
      name: 'AccessError',
      message: '--api-key-file keys holds no key',
    });
});

test('parseKeyFile of more keys than are allowed', () => {
  const lines = Array.from({ length: mostKeys + 1 }, (_, at) => `${at}:${digestOf(`${at}`).toString('hex')}`);
  assert.equal(parseKeyFile(lines.slice(1).join('\n'), 'keys').length, mostKeys);
  assert.throws(() => parseKeyFile(lines.join('\n'), 'keys'), { message: /line 1001: there are more than 1000 keys$/ });
});

test('readKeyFile of what is no file of keys', async (t) => {
  const dir = await temporaryDir(t);
  const large = join(dir, 'large');
  await writeFile(large, '#'.repeat(2 ** 20 + 1));
  for (const [path, message] of [
    [join(dir, 'nowhere'), /^--api-key-file: ENOENT/],
    [dir, `--api-key-file ${dir} is no file`],
    [large, `--api-key-file ${large} is larger than 1048576 bytes`],
  ] as const) {
    await assert.rejects(readKeyFile(path), { name: 'AccessError', message });
  }
});

test('nameProblem', () => {
  for (const name of ['a', 'ci.runner-2_b', 'x'.repeat(64)]) assert.equal(nameProblem(name), undefined, name);
  for (const name of ['', 'a b', 'a:b', 'ä', '#', 'a\n', 'x'.repeat(65)]) assert.ok(nameProblem(name), name);
});
