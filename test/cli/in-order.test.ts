import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inOrder } from '../../src/cli/in-order.js';

test('inOrder: results come in the order of the items, however long each takes', async () => {
  const finish: (() => void)[] = [];
  const results = inOrder([0, 1, 2], 3, async (item) => {
    await new Promise<void>((resolve) => {
      finish[item] = resolve;
    });
    return item;
  });
  const first = results.next();
  for (const item of [2, 1, 0]) finish[item]?.();
  assert.deepEqual(
    [await first, await results.next(), await results.next(), await results.next()],
    [
      { value: 0, done: false },
      { value: 1, done: false },
      { value: 2, done: false },
      { value: undefined, done: true },
    ],
  );
});

test('inOrder: never more than the limit in progress, and as many as that', async () => {
  let inProgress = 0;
  let most = 0;
  const work = async (item: number) => {
    most = Math.max(most, ++inProgress);
    await new Promise(setImmediate);
    inProgress--;
    return item;
  };
  const items = Array.from({ length: 20 }, (_, at) => at);
  const seen: number[] = [];
  for await (const item of inOrder(items, 4, work)) seen.push(item);
  assert.deepEqual(seen, items);
  assert.equal(most, 4);
});

test('inOrder: a failure comes when its turn does, and later ones are no unhandled rejections', async () => {
  const results = inOrder([0, 1, 2], 3, async (item) => {
    if (item > 0) throw new Error(`item ${item}`);
    return item;
  });
  assert.deepEqual(await results.next(), { value: 0, done: false });
  await assert.rejects(results.next(), { message: 'item 1' });
  await new Promise(setImmediate);
});
