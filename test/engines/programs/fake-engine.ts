import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { EngineName } from '../../../src/engines/engine.js';
import { type Message, MessageReader, writeMessage } from '../../../src/engines/protocol.js';

type Start = Message & { readonly type: 'start' } & Pick<Message & { readonly type: 'load' }, 'engine'>;
type Run = Message & { readonly type: 'run' };

/** An engine's process without an engine: what it does with a run, and at its start, is up to the program. */
export function serveFakeEngine(onRun: (run: Run, pipe: Writable) => void, onStart = ready): void {
  const pipe = new Socket({ fd: 3, readable: true, writable: true });
  const reader = new MessageReader(2 ** 20);
  let engine: EngineName = 'onnxruntime';
  pipe.on('data', (chunk: Buffer) => {
    for (const message of reader.push(chunk)) {
      if (message.type === 'load') {
        engine = message.engine;
        writeMessage(pipe, { type: 'loaded' });
      }
      if (message.type === 'start') onStart({ ...message, engine }, pipe);
      if (message.type === 'run') onRun(message, pipe);
      if (message.type === 'close') process.exit();
    }
  });
}

export function ready({ engine }: Start, pipe: Writable): void {
  writeMessage(pipe, {
    type: 'ready',
    info: { engine, version: '0.0.0', device: 'cpu', precision: 'fp32', threads: 1 },
  });
}
