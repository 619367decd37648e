import assert from 'node:assert/strict';
import { test } from 'node:test';
import { table } from '../../src/cli/table.js';

test('table: columns are as wide as their widest cell, and no line ends in spaces', () => {
  const columns = [
    { heading: 'NAME', align: 'left' },
    { heading: 'SIZE', align: 'right' },
    { heading: 'HERE', align: 'left' },
  ] as const;
  const rows = [
    ['a', '1', 'yes'],
    ['longer', '12345', ''],
  ];
  assert.equal(table(columns, rows), ['NAME     SIZE  HERE', 'a           1  yes', 'longer  12345', ''].join('\n'));
});
