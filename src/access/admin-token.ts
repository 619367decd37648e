import { readFile } from 'node:fs/promises';
import { AccessError } from './access-error.js';

/** What an Authorization header can carry (RFC 6750, section 2.1). */
const bearerToken = /^[\w.~+/-]+=*$/;

export interface AdminTokenSettings {
  /** Of the environment variable. */
  readonly adminToken: string | undefined;
  readonly adminTokenFile: string | undefined;
}

/**
 * The token of those who may load and unload models: that of the environment variable, or the first line of the file.
 * Undefined where neither is given. No message shows what was seen.
 * @throws AccessError
 */
export async function readAdminToken({ adminToken, adminTokenFile }: AdminTokenSettings): Promise<string | undefined> {
  if (adminTokenFile === undefined) {
    if (adminToken !== undefined) checkToken(adminToken, 'VGG_SERVE_ADMIN_TOKEN');
    return adminToken;
  }
  if (adminToken !== undefined) {
    throw new AccessError('VGG_SERVE_ADMIN_TOKEN and --admin-token-file both give a token: leave one out');
  }
  const text = await readFile(adminTokenFile, 'utf8').catch((error: Error) => {
    throw new AccessError(`--admin-token-file: ${error.message}`, { cause: error });
  });
  const token = text.replace(/\r?\n$/, '');
  checkToken(token, `--admin-token-file ${adminTokenFile}`);
  return token;
}

function checkToken(token: string, source: string): void {
  if (bearerToken.test(token)) return;
  throw new AccessError(`${source} holds no token: give one line of letters, digits and - . _ ~ + / (= at its end)`);
}
