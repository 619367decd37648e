import assert from 'node:assert/strict';
import test from 'node:test';
import { connectionsWithin, descriptorLimit } from '../src/descriptors.js';

test('descriptorLimit() of this process', { skip: process.platform !== 'linux' && 'only Linux has /proc' }, () => {
  const limit = descriptorLimit();
  assert.ok(limit === undefined || limit >= 64, String(limit));
});

test('descriptorLimit() where there is no such file', () => {
  assert.equal(descriptorLimit('/nowhere/limits'), undefined);
});

test('connectionsWithin: what is asked for, as far as the limit goes', () => {
  for (const [asked, limit, allowed] of [
    [10_000, undefined, 10_000],
    [10_000, 1_048_576, 10_000],
    [10_000, 4096, 3840],
    [100, 4096, 100],
    [10_000, 300, 150],
    [10_000, 1, 1],
  ] as const)
    assert.equal(connectionsWithin(asked, limit), allowed);
});
