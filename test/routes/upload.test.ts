import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { Chunks } from '../../src/routes/upload.js';

test('Chunks: the bytes of any chunks, in their order', () => {
  // About the sizes at which chunks are kept, copied, and copied into a new block.
  const size = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.constantFrom(4095, 4096, 4097, 30_000, 65_536, 70_000));
  fc.assert(
    fc.property(fc.array(size, { maxLength: 60 }), (sizes) => {
      let next = 0;
      const given = sizes.map((length) => Buffer.from(Uint8Array.from({ length }, () => next++ % 251)));
      const chunks = new Chunks();
      for (const chunk of given) chunks.push(chunk);
      assert.ok(chunks.concat().equals(Buffer.concat(given)));
    }),
    { numRuns: 200 },
  );
});

test('Chunks: a body of one chunk is that chunk, not a copy', () => {
  const chunk = Buffer.from('picture');
  const chunks = new Chunks();
  chunks.push(chunk);
  assert.equal(chunks.concat(), chunk);
});
