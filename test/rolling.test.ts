import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const isInstalled = spawnSync('haproxy', ['-v']).status === 0;

test('two processes behind HAProxy, restarted under load: no request fails', {
  skip: isInstalled ? false : 'haproxy is not installed (Debian: apt-get install haproxy)',
}, async () => {
  const program = fileURLToPath(new URL('../bench/rolling.js', import.meta.url));
  const args = [program, '--restarts', '3', '--json'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [line, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  const { requests, p99_ms: p99, ...others } = JSON.parse(line);
  assert.deepEqual(others, { failed: 0, wrong: 0, restarts: 3 }, errors);
  assert.equal(code, 0, errors);
  assert.ok(requests > 0 && p99 > 0);
});
