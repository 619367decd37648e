import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readCorpus } from '../fuzz/corpus.js';
import { checkPrototypes, Finding } from '../fuzz/finding.js';
import { type TargetName, targets } from '../fuzz/targets.js';

const folder = fileURLToPath(new URL('../../test/corpus', import.meta.url));

for (const target of Object.keys(targets) as TargetName[]) {
  const entries = readCorpus(folder, target);
  if (entries.length === 0) continue;
  describe(`what the fuzzer has kept for ${target}`, async () => {
    const opened = targets[target].open();
    after(async () => await (await opened).close());
    for (const { name, input, expected, found } of entries) {
      it(`${name}: ${found ?? expected}`, async () => {
        const [outcome] = await (await opened).run([input]);
        checkPrototypes();
        assert.ok(!(outcome instanceof Finding), String(outcome));
        if (expected !== null) assert.equal(outcome?.name, expected);
      });
    }
  });
}

it('there is a corpus', () => {
  const sizes = Object.keys(targets).map((target) => readCorpus(folder, target as TargetName).length);
  assert.ok(
    sizes.every((size) => size > 0),
    String(sizes),
  );
});
