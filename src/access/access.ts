import { AccessError } from './access-error.js';
import { type AdminTokenSettings, readAdminToken } from './admin-token.js';
import type { Need } from './authorize.js';
import { type Credential, digestOf, readKeyFile } from './key-file.js';
import { Keyring } from './keyring.js';
import { readTlsPair, type TlsPair } from './tls.js';

export interface AccessSettings extends AdminTokenSettings {
  readonly host: string;
  readonly apiKeyFile: string | undefined;
  readonly metricsAccess: Need | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
}

/** Who may ask, and how the way to the server is kept secret. */
export interface Access {
  readonly keyring: Keyring;
  /** What GET /metrics needs. */
  readonly metrics: Need;
  /** Undefined: plain HTTP. */
  readonly tls: TlsPair | undefined;
  /** Undefined where keys come from no file. @throws AccessError, and the keys of before stay */
  readonly rereadKeys: (() => Promise<void>) | undefined;
  /** Undefined where there is no certificate. @throws AccessError */
  readonly rereadTls: (() => Promise<TlsPair>) | undefined;
}

/**
 * Reads the files that the settings name.
 * @throws AccessError
 */
export async function openAccess(settings: AccessSettings): Promise<Access> {
  const { apiKeyFile, adminTokenFile, tlsCert, tlsKey, host } = settings;
  const keyring = new Keyring(await readCredentials(settings), apiKeyFile !== undefined);
  const metrics = settings.metricsAccess ?? (keyring.guardsAll ? 'key' : 'open');
  if ((metrics === 'key' && keyring.size === 0) || (metrics === 'admin' && !keyring.hasAdmin)) {
    const missing = metrics === 'key' ? 'an --api-key-file' : 'an admin key in the --api-key-file, or an admin token';
    throw new AccessError(`--metrics-access ${metrics} would let nobody in: give ${missing}`);
  }
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new AccessError('--tls-cert and --tls-key go together: give both or neither');
  }
  const files = tlsCert === undefined || tlsKey === undefined ? undefined : { cert: tlsCert, key: tlsKey };
  if (files !== undefined && host.toLowerCase() === 'localhost') {
    // Fastify opens a second server for it that it does not give away, and that a new certificate would not reach.
    throw new AccessError('with --tls-cert, --host localhost is not allowed: give 127.0.0.1, ::1 or another address');
  }
  return {
    keyring,
    metrics,
    tls: files && (await readTlsPair(files)),
    rereadKeys:
      apiKeyFile === undefined && adminTokenFile === undefined
        ? undefined
        : async () => keyring.replace(await readCredentials(settings)),
    rereadTls: files && (() => readTlsPair(files)),
  };
}

async function readCredentials(settings: AccessSettings): Promise<readonly Credential[]> {
  const token = await readAdminToken(settings);
  const keys = settings.apiKeyFile === undefined ? [] : await readKeyFile(settings.apiKeyFile);
  // The space keeps it apart from every name that a file can hold.
  return token === undefined ? keys : [...keys, { name: 'admin token', digest: digestOf(token), admin: true }];
}
