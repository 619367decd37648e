/**
 * The program of an engine's process: one network, and one pipe to the server (file descriptor 3). It ends when the
 * pipe does, so it never outlives the server.
 *
 * It reads and writes without the event loop: there is one question at a time and nothing else to do until it comes,
 * and a stream would cut a picture of 224 x 224 into pieces that each go round the loop.
 */
import { readSync, writeSync } from 'node:fs';
import type { Engine, EngineName, EngineSpec } from './engine.js';
import { encodeMessage, type Message, MessageReader } from './protocol.js';

/** The engines, imported only when one is asked for: each brings a large library. */
const engines: Record<EngineName, () => Promise<OpenEngine>> = {
  native: async () => {
    (await import('./native/addon.js')).loadAddon();
    return (await import('./native/session.js')).openNative;
  },
  onnxruntime: async () => (await import('./onnxruntime/session.js')).openSession,
  tfjs: async () => (await import('./tfjs/session.js')).openTfjs,
};

type OpenEngine = (spec: EngineSpec) => Promise<Engine>;

/** The server is trusted; this cap only keeps a slip from asking for all memory. */
const maxBodyBytes = 2 ** 30;

// A terminal sends Ctrl-C to every process of the group, and a service manager may do so too. The server decides when
// the last batch is done; then it closes the pipe.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});

const pipe = 3;
const chunk = new Uint8Array(1 << 20);
const reader = new MessageReader(maxBodyBytes);
let open: OpenEngine | undefined;
let engine: Engine | undefined;

try {
  for (let bytes = readSync(pipe, chunk); bytes > 0; bytes = readSync(pipe, chunk)) {
    for (const message of reader.push(chunk.subarray(0, bytes))) await answer(message);
  }
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(1);
}

async function answer(message: Message): Promise<void> {
  switch (message.type) {
    case 'load':
      return reply(0, async () => {
        open = await engines[message.engine]();
        return { type: 'loaded' };
      });
    case 'start':
      return reply(0, async () => {
        if (!open) throw new Error('a start before the load');
        engine = await open(message.spec);
        const startedAt = performance.now();
        await warmUp(engine, message.spec.inputSize, message.warmUpSize);
        return { type: 'ready', info: { ...engine.info, warmUpMs: performance.now() - startedAt } };
      });
    case 'run':
      return reply(message.id, async () => {
        if (!engine) throw new Error('a run before the start');
        return { type: 'result', id: message.id, ...(await engine.run(message.pixels, message.n)) };
      });
    case 'close':
      await engine?.close();
      process.exit(0);
      break;
    default:
      throw new Error(`a server does not send ${message.type}`);
  }
}

async function reply(id: number, work: () => Promise<Message>): Promise<void> {
  let answered: Message;
  try {
    answered = await work();
  } catch (error) {
    answered = { type: 'failure', id, message: error instanceof Error ? error.message : String(error) };
  }
  // One write: each wakes the server, which would begin to read a frame that is not all there.
  const frame = Buffer.concat(encodeMessage(answered));
  for (let sent = 0; sent < frame.byteLength; ) sent += writeSync(pipe, frame, sent);
}

/**
 * The first run of each size takes the memory that later runs use again.
 * @throws Error for a network whose answers are not finite: with sound weights a black picture has some
 */
async function warmUp(opened: Engine, inputSize: number, largest: number): Promise<void> {
  const pixels = new Uint8Array(largest * inputSize * inputSize * 3);
  const { logits } = await opened.run(pixels.subarray(0, inputSize * inputSize * 3), 1);
  if (largest > 1) await opened.run(pixels, largest);
  if (logits.every(Number.isFinite)) return;
  throw new Error(
    'Its answer to a black picture is NaN or infinite: the weights are damaged, or not for this network.',
  );
}
