import assert from 'node:assert/strict';
import test from 'node:test';
import { png, startService } from './service.js';

const red = await png('#e00000');

const ofPages = ['content-security-policy', 'permissions-policy', 'referrer-policy', 'x-frame-options'];

test('every answer, also an error, forbids to guess its type; only what is opened in a browser has the headers of pages', async (t) => {
  const { http } = await startService(t);
  for (const answer of [
    await http.post('/classify').set('content-type', 'image/png').send(red),
    await http.post('/classify').send('words'),
    await http.get('/models'),
    await http.get('/metrics'),
    await http.get('/health/ready'),
    await http.get('/nowhere'),
    await http.get('/models/%ff%'),
    await http.options('/classify'),
  ]) {
    assert.equal(answer.headers['x-content-type-options'], 'nosniff');
    assert.deepEqual(
      ofPages.filter((name) => name in answer.headers),
      [],
    );
  }
});

test('GET / has the headers of pages', async (t) => {
  const { http } = await startService(t);
  const { headers } = await http.get('/');
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.equal(headers['x-frame-options'], 'DENY');
  assert.equal(headers['referrer-policy'], 'no-referrer');
  assert.match(headers['permissions-policy'] ?? '', /camera=\(\)/);
  const policy = headers['content-security-policy'] ?? '';
  for (const directive of ["default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"])
    assert.ok(policy.split('; ').includes(directive), policy);
  assert.doesNotMatch(policy, /unsafe|\*|https?:/);
  assert.equal(headers['strict-transport-security'], undefined);
});
