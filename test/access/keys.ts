import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { makeKey } from '../../src/access/key-file.js';
import { temporaryDir } from '../cli/command.js';

/** A file with a key called ada and an admin key called root, unless other names are given; null: no admin key. */
export async function keyFile(
  t: TestContext,
  { user = 'ada', admin = 'root' }: { user?: string; admin?: string | null } = {},
) {
  const apiKeyFile = join(await temporaryDir(t), 'keys');
  const userKey = makeKey(user, false);
  const adminKey = makeKey(admin ?? 'nobody', true);
  const lines = ['# who may ask', '', userKey.line, ...(admin === null ? [] : [adminKey.line])];
  await writeFile(apiKeyFile, `${lines.join('\n')}\n`);
  return { apiKeyFile, key: userKey.key, adminKey: adminKey.key };
}
