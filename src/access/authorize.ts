import type { IncomingHttpHeaders } from 'node:http';
import { ServiceError } from '../errors.js';
import type { Credential } from './key-file.js';

/** What an address asks of those who call it. */
export type Need = 'open' | 'key' | 'admin';

/** Why a request is not let in, and the header WWW-Authenticate to it. */
export interface Refusal {
  readonly error: ServiceError;
  readonly challenge: string;
}

/**
 * The key of a request. X-API-Key goes before Authorization: a proxy in front may have put its own token there.
 * Undefined where there is neither, or where Authorization bears something else.
 */
export function keyOf(headers: IncomingHttpHeaders): string | undefined {
  const own = headers['x-api-key'];
  if (typeof own === 'string' && own !== '') return own;
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
}

/**
 * @param credential undefined where no key was sent; its holder is undefined where the key is nobody's
 * @returns undefined: let it in
 */
export function refusalOf(
  need: Exclude<Need, 'open'>,
  credential: { readonly holder: Credential | undefined } | undefined,
): Refusal | undefined {
  const challenge = 'Bearer realm="vgg-serve"';
  const what = need === 'admin' ? 'the admin token or an admin key' : 'a key';
  const advice = `send "Authorization: Bearer KEY" or "X-API-Key: KEY" with ${what}.`;
  // RFC 6750, section 3.1: no error code where nothing was sent.
  if (credential === undefined)
    return { error: new ServiceError('unauthorized', `There is no key: ${advice}`), challenge };
  const { holder } = credential;
  if (holder === undefined) {
    const error = new ServiceError('unauthorized', `The key is not a valid one: ${advice}`);
    return { error, challenge: `${challenge}, error="invalid_token"` };
  }
  if (need === 'key' || holder.admin) return undefined;
  const error = new ServiceError('forbidden', `The key "${holder.name}" is no admin key, which is needed here.`);
  return { error, challenge: `${challenge}, error="insufficient_scope"` };
}
