import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readCategories } from '../../src/cli/categories-file.js';
import { temporaryDir } from './command.js';

test('readCategories', async (t) => {
  const dir = await temporaryDir(t);
  const path = join(dir, 'names');
  const read = async (content: string, classes = 3) => {
    await writeFile(path, content);
    return await readCategories(path, classes);
  };

  const accepted: [string, string, string[]][] = [
    ['lines', 'cat\ndog\ngreat white shark\n', ['cat', 'dog', 'great white shark']],
    ['lines without a newline at the end', 'cat\ndog\ncow', ['cat', 'dog', 'cow']],
    ['lines of Windows, with a byte order mark', '\uFEFFcat\r\ndog\r\ncow\r\n\r\n', ['cat', 'dog', 'cow']],
    ['names that repeat', 'crane\ncrane\ncow', ['crane', 'crane', 'cow']],
    ['a JSON list', '["cat", "dog", "cow"]', ['cat', 'dog', 'cow']],
    ['class_to_idx in another order', ' {"cow": 2, "cat": 0, "dog": 1}\n', ['cat', 'dog', 'cow']],
    ['class_to_idx of folders called by numbers', '{"10": 0, "2": 1, "7": 2}', ['10', '2', '7']],
  ];
  for (const [what, content, names] of accepted) {
    await t.test(what, async () => assert.deepEqual(await read(content), names));
  }

  const refused: [string, string, string | RegExp][] = [
    ['too few names', 'cat\ndog\n', 'it has 2 names, but the network has 3 classes.'],
    ['too many in a class_to_idx', '{"a":0,"b":1,"c":2,"d":3}', 'it has 4 names, but the network has 3 classes.'],
    ['an empty line', 'cat\n\ncow\n', 'line 2 is empty.'],
    ['an empty file', '', 'line 1 is empty.'],
    ['broken JSON', '{"cat": 0,', /^it begins as JSON, but is none: /],
    [
      'an index twice',
      '{"cat": 0, "dog": 1, "cow": 1}',
      '"dog" and "cow" are both 1; each index stands for one class.',
    ],
    [
      'an index too large',
      '{"cat": 0, "dog": 1, "cow": 3}',
      '"cow" is 3; allowed in a class_to_idx of 3 classes is a whole number from 0 to 2.',
    ],
    [
      'names by index',
      '{"0": "cat", "1": "dog", "2": "cow"}',
      '"0" is "cat"; allowed in a class_to_idx of 3 classes is a whole number from 0 to 2.',
    ],
    [
      'a fraction',
      '{"cat": 0.5}',
      '"cat" is 0.5; allowed in a class_to_idx of 1 classes is a whole number from 0 to 0.',
    ],
    ['a number in a list', '["cat", 1, "cow"]', 'item 1 of the list is 1; allowed is a name.'],
    ['an empty name in a list', '["cat", "dog", " "]', 'item 2 of the list is " "; allowed is a name.'],
  ];
  for (const [what, content, message] of refused) {
    await t.test(`refused: ${what}`, async () => {
      await assert.rejects(read(content), (error: Error) => {
        assert.equal(error.name, 'CategoriesError');
        assert.ok(error.message.startsWith(`${path}: `));
        const problem = error.message.slice(path.length + 2);
        if (typeof message === 'string') assert.equal(problem, message);
        else assert.match(problem, message);
        return true;
      });
    });
  }

  await t.test('refused: no file', async () => {
    const missing = join(dir, 'missing.txt');
    await assert.rejects(readCategories(missing, 3), { message: `${missing}: there is no such file.` });
  });
});
