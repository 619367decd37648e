/**
 * What the server and an engine's process say to each other over one pipe. The server asks (load, start, run, close), the
 * child answers (loaded, ready, result, failure); nothing is said unasked, and there is one question at a time.
 *
 * A frame is an 8-byte header and a body. Integers are little-endian; floats are the machine's own, since both ends
 * are on it.
 *
 *     header    u32 bytes in the body, u32 index into `frameTypes`
 *     load      JSON {engine}
 *     loaded    empty
 *     start     JSON {spec, warmUpSize}
 *     ready     JSON EngineInfo
 *     run       u32 id, u32 n, u8 pixels [n, size, size, 3]
 *     result    u32 id, u32 zero, f64 computeMs, f32 logits [n, classes]
 *     failure   u32 id (0 answers load and start), UTF-8 message
 *     close     empty
 */
import type { Writable } from 'node:stream';
import type { EngineInfo, EngineName, EngineSpec } from './engine.js';

const frameTypes = ['start', 'ready', 'run', 'result', 'failure', 'close', 'load', 'loaded'] as const;
type FrameType = (typeof frameTypes)[number];

export type Message =
  /** Asked first: an engine whose library cannot be loaded here is then told from a network that it cannot start. */
  | { readonly type: 'load'; readonly engine: EngineName }
  | { readonly type: 'loaded' }
  /** `warmUpSize`: pictures in the largest run of the warm-up. */
  | { readonly type: 'start'; readonly spec: EngineSpec; readonly warmUpSize: number }
  | { readonly type: 'ready'; readonly info: EngineInfo }
  | { readonly type: 'run'; readonly id: number; readonly n: number; readonly pixels: Uint8Array }
  | { readonly type: 'result'; readonly id: number; readonly computeMs: number; readonly logits: Float32Array }
  | { readonly type: 'failure'; readonly id: number; readonly message: string }
  | { readonly type: 'close' };

/** The other end does not speak this protocol; nothing that follows on the pipe can be trusted. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

const headerBytes = 8;
const runHeadBytes = 8;
const resultHeadBytes = 16;
const failureHeadBytes = 4;

/** Writes one frame. Pixels and logits are handed to the stream as they are: they must not change until it has sent them. */
export function writeMessage(stream: Writable, message: Message): void {
  stream.cork();
  for (const part of encodeMessage(message)) stream.write(part);
  stream.uncork();
}

/** One frame in pieces, without a copy of pixels or logits. */
export function encodeMessage(message: Message): Uint8Array[] {
  const body = encodeBody(message);
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32LE(body.reduce((total, part) => total + part.byteLength, 0));
  header.writeUInt32LE(frameTypes.indexOf(message.type), 4);
  return [header, ...body];
}

function encodeBody(message: Message): Uint8Array[] {
  switch (message.type) {
    case 'load':
      return [Buffer.from(JSON.stringify({ engine: message.engine }))];
    case 'start':
      return [Buffer.from(JSON.stringify({ spec: message.spec, warmUpSize: message.warmUpSize }))];
    case 'ready':
      return [Buffer.from(JSON.stringify(message.info))];
    case 'run': {
      const head = Buffer.alloc(runHeadBytes);
      head.writeUInt32LE(message.id);
      head.writeUInt32LE(message.n, 4);
      return [head, message.pixels];
    }
    case 'result': {
      const head = Buffer.alloc(resultHeadBytes);
      head.writeUInt32LE(message.id);
      head.writeDoubleLE(message.computeMs, 8);
      const { buffer, byteOffset, byteLength } = message.logits;
      return [head, new Uint8Array(buffer, byteOffset, byteLength)];
    }
    case 'failure': {
      const head = Buffer.alloc(failureHeadBytes);
      head.writeUInt32LE(message.id);
      return [head, Buffer.from(message.message, 'utf8')];
    }
    case 'loaded':
    case 'close':
      return [];
    default:
      return message satisfies never;
  }
}

/** Cuts a stream of chunks into messages. Each byte of a body is copied once, into the frame's own memory. */
export class MessageReader {
  readonly #maxBodyBytes: number;
  readonly #header = Buffer.alloc(headerBytes);
  #headerFilled = 0;
  /** Set while a body is being read: the header is complete. */
  #body: Uint8Array<ArrayBuffer> | undefined;
  #bodyFilled = 0;

  /** @param maxBodyBytes a frame that says it is larger is a ProtocolError, before any memory is taken for it */
  constructor(maxBodyBytes: number) {
    this.#maxBodyBytes = maxBodyBytes;
  }

  /** @returns the messages that `chunk` completes. Throws ProtocolError; the reader is then of no more use. */
  push(chunk: Uint8Array): Message[] {
    const messages: Message[] = [];
    let rest = chunk;
    while (rest.byteLength > 0) {
      rest = this.#body ? this.#fillBody(this.#body, rest) : this.#fillHeader(rest);
      if (this.#body && this.#bodyFilled === this.#body.byteLength) {
        messages.push(decode(this.#type(), this.#body));
        this.#body = undefined;
        this.#bodyFilled = 0;
        this.#headerFilled = 0;
      }
    }
    return messages;
  }

  #fillHeader(chunk: Uint8Array): Uint8Array {
    const part = chunk.subarray(0, headerBytes - this.#headerFilled);
    this.#header.set(part, this.#headerFilled);
    this.#headerFilled += part.byteLength;
    if (this.#headerFilled === headerBytes) {
      const type = this.#type();
      const bodyBytes = this.#header.readUInt32LE();
      if (bodyBytes > this.#maxBodyBytes) {
        throw new ProtocolError(`a ${type} frame of ${bodyBytes} bytes; at most ${this.#maxBodyBytes} allowed`);
      }
      this.#body = new Uint8Array(bodyBytes);
    }
    return chunk.subarray(part.byteLength);
  }

  #fillBody(body: Uint8Array, chunk: Uint8Array): Uint8Array {
    const part = chunk.subarray(0, body.byteLength - this.#bodyFilled);
    body.set(part, this.#bodyFilled);
    this.#bodyFilled += part.byteLength;
    return chunk.subarray(part.byteLength);
  }

  #type(): FrameType {
    const index = this.#header.readUInt32LE(4);
    const type = frameTypes[index];
    if (!type) throw new ProtocolError(`a frame of the unknown type ${index}`);
    return type;
  }
}

/** @param body begins its own ArrayBuffer, so that the logits in it are aligned */
function decode(type: FrameType, body: Uint8Array<ArrayBuffer>): Message {
  const view = Buffer.from(body.buffer);
  const need = (bytes: number) => {
    if (body.byteLength < bytes) throw new ProtocolError(`a ${type} frame of ${body.byteLength} bytes`);
  };
  switch (type) {
    case 'load':
      return { type, engine: (parseJson(type, view) as { engine: EngineName }).engine };
    case 'start':
      return { type, ...(parseJson(type, view) as { spec: EngineSpec; warmUpSize: number }) };
    case 'ready':
      return { type, info: parseJson(type, view) as EngineInfo };
    case 'run':
      need(runHeadBytes);
      return { type, id: view.readUInt32LE(), n: view.readUInt32LE(4), pixels: body.subarray(runHeadBytes) };
    case 'result': {
      need(resultHeadBytes);
      const logitBytes = body.byteLength - resultHeadBytes;
      if (logitBytes % 4 !== 0) throw new ProtocolError(`a result frame of ${body.byteLength} bytes`);
      const logits = new Float32Array(body.buffer, resultHeadBytes, logitBytes / 4);
      return { type, id: view.readUInt32LE(), computeMs: view.readDoubleLE(8), logits };
    }
    case 'failure':
      need(failureHeadBytes);
      return { type, id: view.readUInt32LE(), message: view.toString('utf8', failureHeadBytes) };
    case 'loaded':
    case 'close':
      return { type };
    default:
      return type satisfies never;
  }
}

function parseJson(type: FrameType, body: Buffer): object {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Not JSON: said below, together with JSON of another kind.
  }
  throw new ProtocolError(`a ${type} frame that is not a JSON object`);
}
