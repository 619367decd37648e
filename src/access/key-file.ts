import { createHash, randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { AccessError } from './access-error.js';

/** Who may ask, as the file of keys has it. */
export interface Credential {
  readonly name: string;
  /** SHA-256 of the key, 32 bytes. The key itself is nowhere kept. */
  readonly digest: Buffer;
  /** Whether models may be loaded and unloaded with it. */
  readonly admin: boolean;
}

/** One comparison is made for each key and request; this many take 0.1 ms. */
export const mostKeys = 1000;
/** A thousand lines are at most 140 kB; comments may take the rest. */
const mostBytes = 2 ** 20;

const nameForm = /^[\w.-]{1,64}$/;
const allowedName = '1 to 64 letters, digits, and _ . -';

/** A plain hash, since a key is 256 random bits: a slow one would only protect what can be guessed. */
export function digestOf(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** @returns what stands in the way of the name, as a whole clause, or undefined */
export function nameProblem(name: string): string | undefined {
  return nameForm.test(name) ? undefined : `a name is ${allowedName}`;
}

/** A new key, and the line for the file of keys. */
export function makeKey(name: string, admin: boolean): { readonly key: string; readonly line: string } {
  // The prefix lets a scanner for leaked secrets tell what it has found.
  const key = `vgs_${randomBytes(32).toString('base64url')}`;
  return { key, line: `${name}:${digestOf(key).toString('hex')}${admin ? ':admin' : ''}` };
}

/**
 * Reads lines of the form `NAME:SHA256-HEX` or `NAME:SHA256-HEX:admin`. Empty lines and those that begin with # are
 * skipped.
 * @throws AccessError that names the file and the line, and shows nothing of it
 */
export async function readKeyFile(path: string): Promise<readonly Credential[]> {
  const text = await readBounded(path).catch((error: Error) => {
    if (error instanceof AccessError) throw error;
    throw new AccessError(`--api-key-file: ${error.message}`, { cause: error });
  });
  return parseKeyFile(text, path);
}

async function readBounded(path: string): Promise<string> {
  const file = await open(path);
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new AccessError(`--api-key-file ${path} is no file`);
    if (stats.size > mostBytes) throw new AccessError(`--api-key-file ${path} is larger than ${mostBytes} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** @throws AccessError as readKeyFile does */
export function parseKeyFile(text: string, path: string): readonly Credential[] {
  const credentials: Credential[] = [];
  const lineOf = new Map<string, number>();
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  for (const [at, raw] of lines.entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const wrong = (what: string) => new AccessError(`--api-key-file ${path}, line ${at + 1}: ${what}`);
    const [name = '', hex = '', role, ...more] = line.split(':');
    if (!nameForm.test(name)) throw wrong(`the name before the first colon is not ${allowedName}`);
    if (!/^[\da-f]{64}$/i.test(hex)) {
      throw wrong('after the name there are not the 64 digits of a SHA-256; "vgg-serve key NAME" makes such a line');
    }
    if ((role !== undefined && role !== 'admin') || more.length > 0) {
      throw wrong('after the hash only :admin may follow');
    }
    for (const [identity, what] of [
      [name, 'has the name'],
      [`:${hex.toLowerCase()}`, 'has the key'],
    ] as const) {
      const earlier = lineOf.get(identity);
      if (earlier !== undefined) throw wrong(`it ${what} of line ${earlier}`);
      lineOf.set(identity, at + 1);
    }
    if (credentials.length === mostKeys) throw wrong(`there are more than ${mostKeys} keys`);
    credentials.push({ name, digest: Buffer.from(hex, 'hex'), admin: role === 'admin' });
  }
  // An empty file is more likely one that is being written than the wish to let nobody in.
  if (credentials.length === 0) throw new AccessError(`--api-key-file ${path} holds no key`);
  return credentials;
}
