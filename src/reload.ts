import type { Server } from 'node:http';
import { Server as TlsServer } from 'node:tls';
import type { FastifyBaseLogger } from 'fastify';
import type { Access } from './access/access.js';
import { serverOptions, type TlsPair } from './access/tls.js';

/** Reads something again, and tells the log what came of it; what cannot be read leaves all as it was. */
export type Reload = () => Promise<void>;

/** What can be read again while the server runs: keys, and the certificate. */
export function reloadsOf(access: Access, server: Server, logger: FastifyBaseLogger): Reload[] {
  const { keyring, rereadKeys, rereadTls } = access;
  const reloads: Reload[] = [];
  if (rereadKeys !== undefined) {
    reloads.push(async () => {
      try {
        await rereadKeys();
        logger.info({ keys: keyring.size }, 'keys read again');
      } catch (error) {
        logger.error({ reason: (error as Error).message, keys: keyring.size }, 'keys not read, those of before stay');
      }
    });
  }
  if (rereadTls !== undefined && server instanceof TlsServer) {
    reloads.push(async () => {
      try {
        const pair = await rereadTls();
        // Connections that are there keep the old one.
        server.setSecureContext(serverOptions(pair));
        tellOfTls(pair, logger);
      } catch (error) {
        logger.error({ reason: (error as Error).message }, 'certificate not read, the one of before stays');
      }
    });
  }
  return reloads;
}

/** Which certificate is shown to clients from now on, and what is wrong with it. */
export function tellOfTls({ fingerprint, notAfter, warnings }: TlsPair, logger: FastifyBaseLogger): void {
  logger.info({ fingerprint, not_after: notAfter.toISOString() }, 'certificate in use');
  for (const warning of warnings) logger.warn({ warning }, 'certificate');
}

/**
 * The one handler of SIGHUP. Signals that come while it works are answered by one more round after it.
 * @returns takes the handler away
 */
export function onSighup(reloads: readonly Reload[]): () => void {
  let working = false;
  let again = false;
  const handle = async () => {
    again = true;
    if (working) return;
    working = true;
    while (again) {
      again = false;
      for (const reload of reloads) await reload();
    }
    working = false;
  };
  const listener = () => void handle();
  process.on('SIGHUP', listener);
  return () => process.off('SIGHUP', listener);
}
