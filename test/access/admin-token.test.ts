import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { readAdminToken } from '../../src/access/admin-token.js';
import { parseConfig } from '../../src/config.js';

const dir = await mkdtemp(join(tmpdir(), 'vgg-serve-token-'));
after(() => rm(dir, { recursive: true }));

async function tokenFile(content: string): Promise<string> {
  const path = join(dir, 'token');
  await writeFile(path, content);
  return path;
}

/** As the command reads its options. */
function read(argv: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string | undefined> {
  return readAdminToken(parseConfig(argv, env, 'serve'));
}

test('readAdminToken without variable and file: none', async () => {
  assert.equal(await read([]), undefined);
  assert.equal(await read([], { VGG_SERVE_ADMIN_TOKEN: '' }), undefined);
});

test('readAdminToken of the variable', async () => {
  assert.equal(await read([], { VGG_SERVE_ADMIN_TOKEN: 'c2VjcmV0LQ==' }), 'c2VjcmV0LQ==');
});

for (const end of ['', '\n', '\r\n']) {
  test(`readAdminToken of a file whose line ends with ${JSON.stringify(end)}`, async () => {
    const path = await tokenFile(`a-_.~+/9${end}`);
    assert.equal(await read(['--admin-token-file', path]), 'a-_.~+/9');
    assert.equal(await read([], { VGG_SERVE_ADMIN_TOKEN_FILE: path }), 'a-_.~+/9');
  });
}

for (const [what, content] of [
  ['nothing', ''],
  ['an empty line', '\n'],
  ['two lines', 'one\ntwo\n'],
  ['a space', 'open sesame'],
  ['a letter that no header carries', 'schlüssel'],
] as const) {
  test(`readAdminToken of a file with ${what} is refused, and the message keeps the secret`, async () => {
    const path = await tokenFile(content);
    await assert.rejects(read(['--admin-token-file', path]), {
      name: 'AccessError',
      message: `--admin-token-file ${path} holds no token: give one line of letters, digits and - . _ ~ + / (= at its end)`,
    });
  });
}

test('readAdminToken of a variable that is no token is refused, and the message keeps the secret', async () => {
  await assert.rejects(read([], { VGG_SERVE_ADMIN_TOKEN: 'open sesame' }), {
    name: 'AccessError',
    message: /^VGG_SERVE_ADMIN_TOKEN holds no token: (?!.*sesame)/,
  });
});

test('readAdminToken of a file that is not there', async () => {
  await assert.rejects(read(['--admin-token-file', join(dir, 'nowhere')]), {
    name: 'AccessError',
    message: /^--admin-token-file: ENOENT/,
  });
});

test('readAdminToken of both a variable and a file', async () => {
  const path = await tokenFile('one\n');
  await assert.rejects(read(['--admin-token-file', path], { VGG_SERVE_ADMIN_TOKEN: 'two' }), {
    name: 'AccessError',
    message: 'VGG_SERVE_ADMIN_TOKEN and --admin-token-file both give a token: leave one out',
  });
});

test('a token on the command line is not taken', () => {
  assert.throws(() => parseConfig(['--admin-token', 'secret'], {}, 'serve'), {
    name: 'UsageError',
    message: /^--admin-token is not an option of serve/,
  });
});
