import type { FastifyReply } from 'fastify';

/**
 * What a page may do that a browser shows: load from this server alone (and show pictures that its user has chosen), and
 * stand in no frame. Strict-Transport-Security is not among them: it would bind every port of the host name, which this
 * program does not own.
 */
const ofPages: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
};

/** For what a person opens in a browser. */
export function addPageHeaders(reply: FastifyReply): void {
  reply.headers(ofPages);
}
