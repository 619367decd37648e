import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { checkAccess } from '../../src/cli/doctor-access.js';
import { parseConfig } from '../../src/config.js';
import { days, selfSigned, writePair } from '../access/certificate.js';
import { keyFile } from '../access/keys.js';
import { temporaryDir } from './command.js';

async function checks(...argv: string[]) {
  return await checkAccess(parseConfig(argv, {}, 'doctor'));
}

test('checkAccess without keys and certificate: nothing to check', async () => {
  assert.deepEqual(await checks(), []);
});

test('checkAccess of a file of keys', async (t) => {
  const { apiKeyFile } = await keyFile(t);
  const seen = `2 in ${apiKeyFile}, 1 of them for admins`;
  assert.deepEqual(await checks('--api-key-file', apiKeyFile), [{ name: 'keys', ok: true, seen }]);
  await writeFile(apiKeyFile, 'ada:sesame\n');
  const [check] = await checks('--api-key-file', apiKeyFile);
  assert.deepEqual([check?.ok, typeof check?.advice], [false, 'string']);
  assert.match(check?.seen ?? '', /keys, line 1: (?!.*sesame)/);
});

test('checkAccess of a certificate: until when; not ok where it ends soon or stands alone', async (t) => {
  const dir = await temporaryDir(t);
  const { tlsCert, tlsKey } = await writePair(dir, selfSigned({ notAfter: new Date('2049-05-06') }));
  const seen = `${tlsCert} until 2049-05-06`;
  assert.deepEqual(await checks('--tls-cert', tlsCert, '--tls-key', tlsKey), [{ name: 'tls', ok: true, seen }]);
  await writePair(dir, selfSigned({ notAfter: days(3) }));
  const [soon] = await checks('--tls-cert', tlsCert, '--tls-key', tlsKey);
  assert.equal(soon?.ok, false);
  assert.match(soon?.seen ?? '', / ends on /);
  assert.equal((await checks('--tls-cert', tlsCert))[0]?.seen, '--tls-cert and --tls-key go together');
});
