import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { readTlsPair } from '../../src/access/tls.js';
import { temporaryDir } from '../cli/command.js';
import { days, selfSigned, type Validity, writePair } from './certificate.js';

async function pairFiles(t: TestContext, validity?: Validity) {
  const pair = selfSigned(validity);
  const { tlsCert, tlsKey } = await writePair(await temporaryDir(t), pair);
  return { ...pair, cert: tlsCert, key: tlsKey };
}

test('readTlsPair of a certificate and its key', async (t) => {
  const { fingerprint, ...files } = await pairFiles(t, { notAfter: days(100) });
  const pair = await readTlsPair(files);
  assert.equal(pair.fingerprint, fingerprint);
  assert.ok(Math.abs(pair.notAfter.getTime() - days(100).getTime()) < 60_000);
  assert.deepEqual(pair.warnings, []);
});

for (const [what, validity, warning] of [
  ['has ended', { notBefore: new Date('2020-01-01'), notAfter: new Date('2021-02-03') }, / ended on 2021-02-03\.$/],
  ['ends soon', { notAfter: days(13) }, / ends on \d{4}-\d\d-\d\d\.$/],
  ['has not begun', { notBefore: days(2) }, / begins on \d{4}-\d\d-\d\d\.$/],
] as const) {
  test(`readTlsPair of a certificate that ${what}: a warning`, async (t) => {
    const { warnings } = await readTlsPair(await pairFiles(t, validity));
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', warning);
  });
}

test('readTlsPair of a key that every user can read: a warning', async (t) => {
  const files = await pairFiles(t);
  await chmod(files.key, 0o644);
  const { warnings } = await readTlsPair(files);
  assert.deepEqual(warnings, [`Every user of this machine can read the key ${files.key}: chmod o-r.`]);
});

test('readTlsPair of the key of another certificate', async (t) => {
  const files = await pairFiles(t);
  await writeFile(files.key, selfSigned().key);
  await assert.rejects(readTlsPair(files), {
    name: 'AccessError',
    message: `--tls-key ${files.key} cannot be used with --tls-cert ${files.cert}: it is not the key of that certificate`,
  });
});

test('readTlsPair of a key with a passphrase', async (t) => {
  const files = await pairFiles(t);
  const { privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open sesame' },
  });
  await writeFile(files.key, privateKey);
  await assert.rejects(readTlsPair(files), {
    name: 'AccessError',
    message: /: it needs a passphrase; give a key without one$/,
  });
});

test('readTlsPair of files that are none of theirs: says which, and shows nothing of them', async (t) => {
  const files = await pairFiles(t);
  const words = join(await temporaryDir(t), 'words');
  await writeFile(words, 'open sesame');
  for (const [given, message] of [
    [{ ...files, cert: words }, /^--tls-cert .*words holds no certificate in PEM form$/],
    [{ ...files, key: words }, /^--tls-key .*words cannot be used with --tls-cert (?!.*sesame)/],
    [{ ...files, cert: `${words}s` }, /^--tls-cert: ENOENT/],
    [{ ...files, key: `${words}s` }, /^--tls-key: ENOENT/],
  ] as const) {
    await assert.rejects(readTlsPair(given), { name: 'AccessError', message });
  }
});
