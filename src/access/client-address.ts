import { isIP } from 'node:net';

/**
 * The address that a request is counted under: the one that trusted proxies tell of, if it is one, else the peer's.
 * (A proxy that hands on what its client wrote may bring any text, of any length.)
 * @param told by the proxies, as Fastify's `request.ip` has it
 * @param peer of the socket; undefined once it is closed
 */
export function clientAddress(told: string, peer: string | undefined): string {
  return isIP(told) === 0 ? (peer ?? '') : told;
}
