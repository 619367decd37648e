import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { openAccess } from '../../src/access/access.js';
import { clientAddress } from '../../src/access/client-address.js';
import { makeKey } from '../../src/access/key-file.js';
import { Keyring } from '../../src/access/keyring.js';
import { parseConfig } from '../../src/config.js';
import { temporaryDir } from '../cli/command.js';
import { selfSigned, writePair } from './certificate.js';
import { keyFile } from './keys.js';

/** As the command reads its options. */
function open(argv: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return openAccess(parseConfig(argv, env, 'serve'));
}

test('openAccess without options: nobody is asked for anything, and nothing is read again', async () => {
  const { keyring, metrics, tls, rereadKeys, rereadTls } = await open([]);
  assert.deepEqual([keyring.size, keyring.guardsAll, keyring.hasAdmin], [0, false, false]);
  assert.deepEqual([metrics, tls, rereadKeys, rereadTls], ['open', undefined, undefined, undefined]);
});

test('openAccess with an admin token: its holder is an admin, and pictures need no key', async () => {
  const { keyring, metrics } = await open([], { VGG_SERVE_ADMIN_TOKEN: 'c2VjcmV0' });
  assert.deepEqual([keyring.guardsAll, keyring.hasAdmin, metrics], [false, true, 'open']);
  assert.equal(keyring.find('c2VjcmV0')?.name, 'admin token');
  assert.equal(keyring.find('c2VjcmV1'), undefined);
});

test('openAccess with a file of keys, and with an admin token beside it', async (t) => {
  const { apiKeyFile, key, adminKey } = await keyFile(t);
  const { keyring, metrics } = await open(['--api-key-file', apiKeyFile], { VGG_SERVE_ADMIN_TOKEN: 'c2VjcmV0' });
  assert.deepEqual([keyring.guardsAll, keyring.hasAdmin, keyring.size, metrics], [true, true, 3, 'key']);
  const holders = [key, adminKey, 'c2VjcmV0', '', `${key} `].map((one) => keyring.find(one));
  assert.deepEqual(
    holders.map((holder) => holder && [holder.name, holder.admin]),
    [['ada', false], ['root', true], ['admin token', true], undefined, undefined],
  );
});

test('openAccess with --metrics-access', async (t) => {
  const { apiKeyFile } = await keyFile(t);
  for (const access of ['open', 'key', 'admin'] as const) {
    const { metrics } = await open(['--api-key-file', apiKeyFile, '--metrics-access', access]);
    assert.equal(metrics, access);
  }
  for (const [access, missing] of [
    ['key', 'an --api-key-file'],
    ['admin', 'an admin key in the --api-key-file, or an admin token'],
  ] as const) {
    await assert.rejects(open(['--metrics-access', access]), {
      name: 'AccessError',
      message: `--metrics-access ${access} would let nobody in: give ${missing}`,
    });
    assert.equal((await open(['--metrics-access', access], { VGG_SERVE_ADMIN_TOKEN: 'a' })).metrics, access);
  }
});

test('openAccess with a certificate: both files or neither, and not with two addresses', async (t) => {
  const pair = selfSigned();
  const { tlsCert, tlsKey } = await writePair(await temporaryDir(t), pair);
  assert.equal((await open(['--tls-cert', tlsCert, '--tls-key', tlsKey])).tls?.fingerprint, pair.fingerprint);
  const alone = { name: 'AccessError', message: '--tls-cert and --tls-key go together: give both or neither' };
  await assert.rejects(open(['--tls-cert', tlsCert]), alone);
  await assert.rejects(open(['--tls-key', tlsKey]), alone);
  await assert.rejects(open(['--tls-cert', tlsCert, '--tls-key', tlsKey, '--host', 'localhost']), {
    name: 'AccessError',
    message: 'with --tls-cert, --host localhost is not allowed: give 127.0.0.1, ::1 or another address',
  });
});

test('rereadKeys: new keys count, old ones no longer do; a broken file leaves those of before', async (t) => {
  const { apiKeyFile, key } = await keyFile(t);
  const { keyring, rereadKeys } = await open(['--api-key-file', apiKeyFile]);
  const eve = makeKey('eve', false);
  await writeFile(apiKeyFile, `${eve.line}\n`);
  await rereadKeys?.();
  assert.equal(keyring.find(eve.key)?.name, 'eve');
  assert.deepEqual([keyring.find(key), keyring.hasAdmin], [undefined, false]);
  await writeFile(apiKeyFile, '');
  await assert.rejects(rereadKeys?.() ?? Promise.resolve(), { name: 'AccessError' });
  assert.equal(keyring.find(eve.key)?.name, 'eve');
});

test('rereadKeys: the file of the admin token too', async (t) => {
  const adminTokenFile = join(await temporaryDir(t), 'token');
  await writeFile(adminTokenFile, 'b25l\n');
  const { keyring, rereadKeys } = await open(['--admin-token-file', adminTokenFile]);
  await writeFile(adminTokenFile, 'dHdv\n');
  await rereadKeys?.();
  assert.deepEqual([keyring.find('b25l'), keyring.find('dHdv')?.name], [undefined, 'admin token']);
});

test('Keyring.find looks at every key, wherever the right one stands', () => {
  const keys = Array.from({ length: 5 }, (_, at) => ({ ...makeKey(`${at}`, false), name: `${at}` }));
  let looked = 0;
  const keyring = new Keyring(
    keys.map(({ name, line }) => ({
      name,
      admin: false,
      get digest() {
        looked++;
        return Buffer.from(line.slice(2), 'hex');
      },
    })),
    true,
  );
  for (const [at, { key, name }] of keys.entries()) {
    assert.equal(keyring.find(key)?.name, name);
    assert.equal(looked, 5 * (at + 1));
  }
});

test('clientAddress: what proxies tell counts only where it is an address', () => {
  assert.equal(clientAddress('192.0.2.7', '10.0.0.1'), '192.0.2.7');
  assert.equal(clientAddress('2001:db8::7', '10.0.0.1'), '2001:db8::7');
  for (const told of ['', 'unknown', '192.0.2.7:4711', '192.0.2.256', 'x'.repeat(10_000)])
    assert.equal(clientAddress(told, '10.0.0.1'), '10.0.0.1', told);
  assert.equal(clientAddress('unknown', undefined), '');
});
