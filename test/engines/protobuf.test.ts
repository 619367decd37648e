import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bytesField,
  floatField,
  messageField,
  stringField,
  varintField,
} from '../../src/engines/onnxruntime/protobuf.js';

// The first three are the examples of https://protobuf.dev/programming-guides/encoding.
const rows = [
  ['varintField(1, 150)', varintField(1, 150), '089601'],
  ['stringField(2, "testing")', stringField(2, 'testing'), '120774657374696e67'],
  ['messageField(3, [varintField(1, 150)])', messageField(3, [varintField(1, 150)]), '1a03089601'],
  ['varintField(1, 0)', varintField(1, 0), '0800'],
  ['varintField(1, 2 ** 40), past 32 bits', varintField(1, 2 ** 40), '08808080808020'],
  ['varintField(16, 1), a tag of two bytes', varintField(16, 1), '800101'],
  ['floatField(2, 1e-5)', floatField(2, 1e-5), '15acc52737'],
  ['bytesField(9, [255, 0])', bytesField(9, Uint8Array.of(255, 0)), '4a02ff00'],
  ['stringField(1, "ü"), its UTF-8', stringField(1, 'ü'), '0a02c3bc'],
] as const;

for (const [call, bytes, hex] of rows) test(`${call} is ${hex}`, () => assert.equal(bytes.toString('hex'), hex));

for (const value of [-1, 0.5, 2 ** 53, Number.NaN]) {
  test(`varintField(1, ${value}) throws RangeError`, () => assert.throws(() => varintField(1, value), RangeError));
}
