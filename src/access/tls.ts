import { X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type TlsOptions } from 'node:tls';
import { AccessError } from './access-error.js';

/** A certificate with its chain, and its key, as PEM; with what is to be known of them. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
  /** SHA-256 of the certificate: pairs of hexadecimal digits with colons between. */
  readonly fingerprint: string;
  readonly notAfter: Date;
  /** What is to be put right although it can be used: whole sentences. */
  readonly warnings: readonly string[];
}

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

const day = 24 * 3600 * 1000;
const soon = 14 * day;

/**
 * Reads both files and checks that they belong together.
 * @param now in milliseconds since 1970
 * @throws AccessError
 */
export async function readTlsPair(files: TlsFiles, now = Date.now()): Promise<TlsPair> {
  const [cert, key] = await Promise.all([read('--tls-cert', files.cert), read('--tls-key', files.key)]);
  const leaf = readCertificate(cert, files.cert);
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason =
      code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH'
        ? 'it is not the key of that certificate'
        : /^-----BEGIN ENCRYPTED|^Proc-Type: 4,ENCRYPTED/m.test(key)
          ? 'it needs a passphrase; give a key without one'
          : message;
    throw new AccessError(`--tls-key ${files.key} cannot be used with --tls-cert ${files.cert}: ${reason}`);
  }
  const notAfter = new Date(leaf.validTo);
  const warnings: string[] = [];
  if (notAfter.getTime() <= now) warnings.push(`The certificate ${files.cert} ended on ${dateOf(notAfter)}.`);
  else if (notAfter.getTime() - now < soon) warnings.push(`The certificate ${files.cert} ends on ${dateOf(notAfter)}.`);
  if (new Date(leaf.validFrom).getTime() > now) {
    warnings.push(`The certificate ${files.cert} begins on ${dateOf(new Date(leaf.validFrom))}.`);
  }
  if (((await stat(files.key)).mode & 0o004) !== 0) {
    warnings.push(`Every user of this machine can read the key ${files.key}: chmod o-r.`);
  }
  return { cert, key, fingerprint: leaf.fingerprint256, notAfter, warnings };
}

function readCertificate(pem: string, path: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new AccessError(`--tls-cert ${path} holds no certificate in PEM form`, { cause: error });
  }
}

async function read(option: string, path: string): Promise<string> {
  return await readFile(path, 'utf8').catch((error: Error) => {
    throw new AccessError(`${option}: ${error.message}`, { cause: error });
  });
}

function dateOf(date: Date): string {
  return date.toISOString().slice(0, 10);
}

/** How long a client may take for its handshake. */
const handshakeTimeoutMs = 10_000;

/** For Node's server, at its start and whenever the pair changes. */
export function serverOptions({ cert, key }: TlsPair) {
  return {
    cert,
    key,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'] as string[],
    handshakeTimeout: handshakeTimeoutMs,
  } satisfies TlsOptions;
}
