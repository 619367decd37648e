import { readKeyFile } from '../access/key-file.js';
import { readTlsPair } from '../access/tls.js';
import type { Config } from '../config.js';
import type { Check } from './check.js';

/** The keys and the certificate, where the settings name any. */
export async function checkAccess(
  config: Pick<Config<'doctor'>, 'apiKeyFile' | 'tlsCert' | 'tlsKey'>,
): Promise<Check[]> {
  const checks: Check[] = [];
  const { apiKeyFile, tlsCert, tlsKey } = config;
  if (apiKeyFile !== undefined) {
    checks.push(
      await checked('keys', 'Put the file right; "vgg-serve key NAME" makes a line of it.', async () => {
        const keys = await readKeyFile(apiKeyFile);
        const admins = keys.filter(({ admin }) => admin).length;
        return { ok: true, seen: `${keys.length} in ${apiKeyFile}, ${admins} of them for admins` };
      }),
    );
  }
  if (tlsCert !== undefined || tlsKey !== undefined) {
    checks.push(
      await checked('tls', 'Give a certificate and the key that belongs to it, as PEM.', async () => {
        if (tlsCert === undefined || tlsKey === undefined) throw new Error('--tls-cert and --tls-key go together');
        const { notAfter, warnings } = await readTlsPair({ cert: tlsCert, key: tlsKey });
        const seen = [`${tlsCert} until ${notAfter.toISOString().slice(0, 10)}`, ...warnings].join('; ');
        return { ok: warnings.length === 0, seen };
      }),
    );
  }
  return checks;
}

async function checked(
  name: string,
  advice: string,
  look: () => Promise<{ ok: boolean; seen: string }>,
): Promise<Check> {
  const { ok, seen } = await look().catch((error: Error) => ({ ok: false, seen: error.message }));
  return { name, ok, seen, ...(!ok && { advice }) };
}
