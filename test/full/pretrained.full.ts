import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startService } from '../../bench/service.js';
import { writeStandIn } from '../../bench/stand-in.js';
import { fixturesDir, likeliest, run, temporaryDir } from '../cli/command.js';

test('vgg16 from a mirror: pulled, cut in the middle, resumed, verified, served', async (t) => {
  const dir = await temporaryDir(t);
  await mkdir(join(dir, 'mirror'));
  const original = await writeStandIn(join(dir, 'mirror'));
  const { size } = await stat(original);
  const half = Math.floor(size / 2);
  const program = fileURLToPath(new URL('../../bench/pull-server.js', import.meta.url));
  const server = fork(program, [original, String(half)]);
  t.after(() => server.kill());
  const [mirror] = (await once(server, 'message')) as [string];
  const starts: number[] = [];
  server.on('message', (start: number) => starts.push(start));
  const env = { TORCH_HOME: join(dir, 'torch') };

  const pulled = await run(['pull', '--json', '--weights-url', mirror, 'vgg16'], env);
  assert.equal(pulled.code, 0, pulled.stderr);
  const path = join(dir, 'torch', 'hub', 'checkpoints', 'vgg16-397923af.pth');
  assert.deepEqual(JSON.parse(pulled.stdout), { results: [{ name: 'vgg16', path, fetched: true }] });
  // What was under way when the connection was cut may be lost; all that was on the disk is kept.
  assert.equal(starts.length, 2);
  assert.ok(starts[0] === 0 && (starts[1] ?? 0) > half / 2 && (starts[1] ?? 0) <= half, String(starts));
  t.diagnostic(`${size} bytes, cut after ${half}, resumed from byte ${starts[1]}`);

  const verified = await run(['verify', path]);
  assert.equal(verified.code, 0, verified.stderr);
  assert.match(verified.stdout, /vgg16/);

  const full: { rows: { builder: string; logits_float64: number[][] }[]; crops: string[] } = JSON.parse(
    await readFile(join(fixturesDir, 'full', 'full_networks.json'), 'utf8'),
  );
  const at = full.crops.findIndex((crop) => crop.startsWith('rocket.jpg'));
  const expected = likeliest(full.rows.find(({ builder }) => builder === 'vgg16')?.logits_float64[at] ?? []);
  Object.assign(process.env, env);
  const service = await startService(['--model', 'vgg16', '--offline', '--log-level', 'warn']);
  t.after(() => service.stop());
  const response = await fetch(`${service.url}/classify?model=vgg16&top_k=1`, {
    method: 'POST',
    headers: { 'content-type': 'image/jpeg' },
    body: new Uint8Array(await readFile(join(fixturesDir, 'images', 'rocket.jpg'))),
  });
  const answer = (await response.json()) as { results: { predictions: { index: number; probability: number }[] }[] };
  const [seen] = answer.results[0]?.predictions ?? [];
  assert.equal(seen?.index, expected.index);
  assert.ok(Math.abs((seen?.probability ?? 0) - expected.probability) < 1e-4);
});
