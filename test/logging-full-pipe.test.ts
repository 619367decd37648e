import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

/** Fills the pipe that nobody reads, logs one more line meanwhile, and says so when that one's time has come. */
const program = `
import { createLogger } from ${JSON.stringify(new URL('../src/logging.js', import.meta.url).href)};
const logger = createLogger('info');
for (let line = 0; line < 32; line++) logger.info('x'.repeat(20_000));
logger.info('the last');
setTimeout(() => process.send('logged'), 100);
process.on('message', () => process.exit());
`;

test('a line that is logged while the pipe is full is written once it is read, though no other line follows', {
  timeout: 60_000,
}, async (t) => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  t.after(() => child.kill());
  await once(child, 'message');
  assert.ok(child.stdout);
  let count = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    count++;
    if (JSON.parse(line).msg === 'the last') break;
  }
  assert.equal(count, 33);
});
