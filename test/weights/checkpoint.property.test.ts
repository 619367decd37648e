import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { CheckpointError } from '../../src/weights/checkpoint-error.js';
import { row, safetensorsFile } from './safetensors-builder.js';
import { temporaryFolder } from './temporary-files.js';

const folder = temporaryFolder();
const fixture = (name: string) => readFileSync(new URL(`../../../test/fixtures/checkpoints/${name}`, import.meta.url));

/** The index of each file, where a change matters most: its first bytes and, in the zip, its last ones. */
const files = [
  { name: 'zip', bytes: fixture('small_pool.pth'), indexBytes: 2400 },
  { name: 'legacy', bytes: fixture('small_pool.legacy.pth'), indexBytes: 4500 },
  {
    name: 'safetensors',
    bytes: safetensorsFile(
      { __metadata__: { format: 'pt' }, a: row([3, 4], 0, 48), b: row([2], 48, 56) },
      Buffer.alloc(56),
    ),
    indexBytes: 130,
  },
];

describe('readCheckpoint of a file with one fault', () => {
  for (const { name, bytes, indexBytes } of files) {
    const position = fc.oneof(
      fc.nat({ max: indexBytes }),
      fc.nat({ max: indexBytes }).map((back) => Math.max(0, bytes.length - 1 - back)),
      fc.nat({ max: bytes.length - 1 }),
    );

    it(`${name}, cut anywhere: a CheckpointError`, async () => {
      const property = fc.asyncProperty(position, async (length) => {
        assert.equal(await outcomeOf(bytes.subarray(0, length)), 'refused');
      });
      await fc.assert(property, { numRuns: 60 });
    });

    it(`${name}, one byte changed: a CheckpointError, or ranges that lie in the file`, async () => {
      const property = fc.asyncProperty(position, fc.integer({ min: 1, max: 255 }), async (at, difference) => {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ difference;
        await outcomeOf(changed);
      });
      await fc.assert(property, { numRuns: 150 });
    });
  }
});

/** Any other exception fails the property, and so does a range outside the file. */
async function outcomeOf(bytes: Uint8Array): Promise<'read' | 'refused'> {
  try {
    const { tensors } = await readCheckpoint(folder.write(bytes, 'changed'));
    for (const { byteOffset, byteLength } of tensors)
      assert(byteOffset >= 0 && byteLength >= 0 && byteOffset + byteLength <= bytes.length);
    return 'read';
  } catch (error) {
    if (error instanceof CheckpointError) return 'refused';
    throw error;
  }
}
