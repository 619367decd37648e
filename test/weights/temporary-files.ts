import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

/** A folder that goes away after the tests of the file that asks for it. */
export function temporaryFolder(): { path: string; write(bytes: Uint8Array | string, name?: string): string } {
  const path = mkdtempSync(join(tmpdir(), 'vgg-serve-weights-'));
  after(() => rmSync(path, { recursive: true }));
  let count = 0;
  return {
    path,
    write(bytes, name = `file-${count++}`) {
      const file = join(path, name);
      writeFileSync(file, bytes);
      return file;
    },
  };
}
