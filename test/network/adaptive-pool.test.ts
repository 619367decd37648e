import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { averagingMatrix, poolingWindows } from '../../src/network/adaptive-pool.js';

/** torch.nn.functional.adaptive_avg_pool1d of the unit vectors, as fractions. */
const byTorch: { n: number; m: number; rows: number[][] }[] = [
  {
    n: 4,
    m: 2,
    rows: [
      [1 / 2, 1 / 2, 0, 0],
      [0, 0, 1 / 2, 1 / 2],
    ],
  },
  {
    n: 5,
    m: 2,
    rows: [
      [1 / 3, 1 / 3, 1 / 3, 0, 0],
      [0, 0, 1 / 3, 1 / 3, 1 / 3],
    ],
  },
  {
    n: 7,
    m: 3,
    rows: [
      [1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0],
      [0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0],
      [0, 0, 0, 0, 1 / 3, 1 / 3, 1 / 3],
    ],
  },
  {
    n: 3,
    m: 7,
    rows: [
      [1, 0, 0],
      [1, 0, 0],
      [1 / 2, 1 / 2, 0],
      [0, 1, 0],
      [0, 1 / 2, 1 / 2],
      [0, 0, 1],
      [0, 0, 1],
    ],
  },
  { n: 1, m: 3, rows: [[1], [1], [1]] },
];

for (const { n, m, rows } of byTorch) {
  test(`averagingMatrix(${n}, ${m}) is what PyTorch averages`, () => {
    assert.deepEqual(averagingMatrix(n, m), Float32Array.from(rows.flat()));
  });
}

test('poolingWindows(24, 7), which does not divide, has windows of four and of five', () => {
  assert.deepEqual(
    poolingWindows(24, 7).map(({ start, end }) => [start, end]),
    [
      [0, 4],
      [3, 7],
      [6, 11],
      [10, 14],
      [13, 18],
      [17, 21],
      [20, 24],
    ],
  );
});

const extent = fc.integer({ min: 1, max: 300 });

test("poolingWindows of any extents are torch's start_index and end_index", () => {
  fc.assert(
    fc.property(extent, extent, (n, m) => {
      const expected = Array.from({ length: m }, (_, i) => ({
        start: Number((BigInt(i) * BigInt(n)) / BigInt(m)),
        end: 1 + Number((BigInt(i + 1) * BigInt(n) - 1n) / BigInt(m)),
      }));
      assert.deepEqual(poolingWindows(n, m), expected);
    }),
  );
});

test('averagingMatrix of equal extents is the identity', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), (n) => {
      averagingMatrix(n, n).forEach((weight, at) => {
        assert.equal(weight, at % (n + 1) === 0 ? 1 : 0);
      });
    }),
  );
});

test('averagingMatrix over rows, then columns, is adaptive_avg_pool2d', () => {
  // torch.nn.functional.adaptive_avg_pool2d((torch.arange(20.0) ** 2).reshape(1, 1, 5, 4).double(), (2, 7))
  const expected = [
    [160, 187, 214, 247, 280, 319, 358].map((sixth) => sixth / 6),
    [928, 1003, 1078, 1159, 1240, 1327, 1414].map((sixth) => sixth / 6),
  ];
  const picture = Array.from({ length: 5 }, (_, y) => Array.from({ length: 4 }, (_, x) => (4 * y + x) ** 2));
  const rows = averagingMatrix(5, 2);
  const columns = averagingMatrix(4, 7);
  for (const [i, line] of expected.entries()) {
    for (const [j, value] of line.entries()) {
      let average = 0;
      for (const [y, pixels] of picture.entries()) {
        for (const [x, pixel] of pixels.entries()) {
          average += (rows[i * 5 + y] ?? Number.NaN) * (columns[j * 4 + x] ?? Number.NaN) * pixel;
        }
      }
      assert.ok(Math.abs(average - value) < 1e-4, `[${i}, ${j}] is ${average}, torch says ${value}`);
    }
  }
});
