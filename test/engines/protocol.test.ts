import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import type { EngineInfo, EngineSpec } from '../../src/engines/engine.js';
import { type Message, MessageReader, ProtocolError, writeMessage } from '../../src/engines/protocol.js';

const info: EngineInfo = { engine: 'onnxruntime', version: '1.2.3', device: 'cpu', precision: 'fp32', threads: 2 };
const spec: EngineSpec = {
  layers: [{ kind: 'batchnorm', name: 'features.1', channels: 4, eps: 1e-5 }],
  inputSize: 8,
  classes: 3,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
  tensors: [{ name: 'features.1.weight', shape: [4], path: '/ä b.pth', byteOffset: 3e9, byteLength: 16 }],
  maxBatchSize: 2,
  threads: 1,
  prepack: false,
  precision: 'fp32',
};
const messages: readonly Message[] = [
  { type: 'load', engine: 'onnxruntime' },
  { type: 'loaded' },
  { type: 'start', spec, warmUpSize: 4 },
  { type: 'ready', info },
  { type: 'run', id: 7, n: 2, pixels: Uint8Array.from({ length: 2 * 8 * 8 * 3 }, (_, index) => index) },
  { type: 'result', id: 4_000_000_000, computeMs: 12.75, logits: Float32Array.of(1.5, -2, Number.NaN) },
  { type: 'failure', id: 0, message: 'größer' },
  { type: 'close' },
];
const manyBytes = 1e6;

function bytesOf(...sent: readonly Message[]): Buffer {
  const stream = new PassThrough();
  for (const message of sent) writeMessage(stream, message);
  return stream.read() as Buffer;
}

function frame(bodyBytes: number, type: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(bodyBytes);
  header.writeUInt32LE(type, 4);
  return Buffer.concat([header, body]);
}

describe('MessageReader.push() of what writeMessage() wrote', () => {
  for (const message of messages) {
    test(`gives back ${message.type}`, () => {
      assert.deepEqual(plain(new MessageReader(manyBytes).push(bytesOf(message))), plain([message]));
    });
  }

  test('gives back all messages of one chunk', () => {
    assert.deepEqual(plain(new MessageReader(manyBytes).push(bytesOf(...messages))), plain(messages));
  });

  for (const size of [1, 7, 8, 9, 100]) {
    test(`gives back the same messages in chunks of ${size} bytes`, () => {
      const reader = new MessageReader(manyBytes);
      const bytes = bytesOf(...messages);
      const seen: Message[] = [];
      for (let at = 0; at < bytes.length; at += size) seen.push(...reader.push(bytes.subarray(at, at + size)));
      assert.deepEqual(plain(seen), plain(messages));
    });
  }

  test('gives logits that the caller may keep: they do not lie in the chunk', () => {
    const chunk = bytesOf({ type: 'result', id: 1, computeMs: 1, logits: Float32Array.of(5) });
    const [message] = new MessageReader(manyBytes).push(chunk);
    chunk.fill(0);
    assert.ok(message?.type === 'result');
    assert.deepEqual([...message.logits], [5]);
  });
});

/** Typed arrays and Buffers of the same content are equal. */
function plain(list: readonly Message[]): unknown[] {
  return list.map((message) => {
    if (message.type === 'run') return { ...message, pixels: [...message.pixels] };
    if (message.type === 'result') return { ...message, logits: [...message.logits] };
    return message;
  });
}

describe('MessageReader.push() throws ProtocolError for', () => {
  const cases: readonly { what: string; bytes: Buffer; message: RegExp }[] = [
    {
      what: 'a frame over the cap',
      bytes: frame(manyBytes + 1, 3, Buffer.alloc(0)),
      message: /result frame of 1000001 bytes; at most 1000000/,
    },
    { what: 'text', bytes: Buffer.from('Segmentation fault\n'), message: /unknown type \d+/ },
    { what: 'an unknown type', bytes: frame(0, 8, Buffer.alloc(0)), message: /unknown type 8/ },
    { what: 'a run without its numbers', bytes: frame(7, 2, Buffer.alloc(7)), message: /run frame of 7 bytes/ },
    {
      what: 'a result without its numbers',
      bytes: frame(15, 3, Buffer.alloc(15)),
      message: /result frame of 15 bytes/,
    },
    { what: 'a piece of a logit', bytes: frame(18, 3, Buffer.alloc(18)), message: /result frame of 18 bytes/ },
    { what: 'a failure without its id', bytes: frame(3, 4, Buffer.alloc(3)), message: /failure frame of 3 bytes/ },
    { what: 'ready with no JSON', bytes: frame(4, 1, Buffer.from('{"a"')), message: /ready frame that is not a JSON/ },
    { what: 'ready with null', bytes: frame(4, 1, Buffer.from('null')), message: /ready frame that is not a JSON/ },
  ];
  for (const { what, bytes, message } of cases) {
    test(what, () => {
      assert.throws(
        () => new MessageReader(manyBytes).push(bytes),
        (error) => error instanceof ProtocolError && message.test(error.message),
      );
    });
  }
});
