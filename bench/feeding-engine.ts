/** The program of an engine's process that answers each batch after one millisecond, as a fast GPU would: with nothing. */
import { readSync, writeSync } from 'node:fs';
import { encodeMessage, type Message, MessageReader } from '../src/engines/protocol.js';

const pipe = 3;
const runMs = 1;
const chunk = new Uint8Array(1 << 20);
const reader = new MessageReader(2 ** 30);
const sleeper = new Int32Array(new SharedArrayBuffer(4));
let classes = 0;

for (let bytes = readSync(pipe, chunk); bytes > 0; bytes = readSync(pipe, chunk)) {
  for (const message of reader.push(chunk.subarray(0, bytes))) answer(message);
}

function answer(message: Message): void {
  switch (message.type) {
    case 'load':
      reply({ type: 'loaded' });
      break;
    case 'start': {
      classes = message.spec.classes;
      const { precision, threads } = message.spec;
      reply({ type: 'ready', info: { engine: 'onnxruntime', version: '0.0.0', device: 'cpu', precision, threads } });
      break;
    }
    case 'run':
      Atomics.wait(sleeper, 0, 0, runMs);
      reply({ type: 'result', id: message.id, computeMs: runMs, logits: new Float32Array(message.n * classes) });
      break;
    default:
      process.exit(0);
  }
}

function reply(message: Message): void {
  const frame = Buffer.concat(encodeMessage(message));
  for (let sent = 0; sent < frame.byteLength; ) sent += writeSync(pipe, frame, sent);
}
