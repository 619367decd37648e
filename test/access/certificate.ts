import { generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Validity {
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** A certificate for 127.0.0.1 that its own key has signed, both as PEM. Only for tests: RFC 5280 at its shortest. */
export function selfSigned({ notBefore = days(-1), notAfter = days(3650) }: Validity = {}) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ecdsaWithSha256 = sequence(der(0x06, '2a8648ce3d040302'));
  const commonName = sequence(der(0x31, sequence(der(0x06, '550403'), der(0x0c, Buffer.from('test of vgg-serve')))));
  // Subject alternative name: the address 127.0.0.1.
  const altName = sequence(der(0x06, '551d11'), der(0x04, sequence(der(0x87, '7f000001'))));
  const serial = randomBytes(8);
  serial[0] = 1; // Positive, and its first byte is not zero.
  const body = sequence(
    der(0xa0, der(0x02, '02')), // Version 3.
    der(0x02, serial),
    ecdsaWithSha256,
    commonName,
    sequence(time(notBefore), time(notAfter)),
    commonName,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(altName)),
  );
  const signature = Buffer.concat([Buffer.of(0), sign('sha256', body, privateKey)]);
  const certificate = new X509Certificate(sequence(body, ecdsaWithSha256, der(0x03, signature)));
  return {
    cert: certificate.toString(),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    fingerprint: certificate.fingerprint256,
  };
}

/** Writes a pair into a folder, the key readable by its owner alone. */
export async function writePair(dir: string, { cert, key }: { cert: string; key: string }) {
  const tlsCert = join(dir, 'cert.pem');
  const tlsKey = join(dir, 'key.pem');
  await writeFile(tlsCert, cert);
  await writeFile(tlsKey, key, { mode: 0o600 });
  await chmod(tlsKey, 0o600);
  return { tlsCert, tlsKey };
}

export function days(fromNow: number): Date {
  return new Date(Date.now() + fromNow * 24 * 3600 * 1000);
}

/** Tag, length and content (X.690, section 8.1); a text is of hexadecimal digits. */
function der(tag: number, content: Buffer | string): Buffer {
  const bytes = typeof content === 'string' ? Buffer.from(content, 'hex') : content;
  const { length } = bytes;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...head), bytes]);
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

/** GeneralizedTime. */
function time(date: Date): Buffer {
  return der(0x18, Buffer.from(`${date.toISOString().replace(/[-:T]|\.\d+/g, '')}`));
}
