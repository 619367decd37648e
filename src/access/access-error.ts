/**
 * What decides who may ask cannot be used: a token, a file of keys, a certificate. The message names the file and never
 * shows what is in it.
 */
export class AccessError extends Error {
  override readonly name = 'AccessError';
}
