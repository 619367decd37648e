import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Of a problem. */
  readonly code: string | undefined;
}

/** A client that sends bytes as it is told, and shows those that it gets. */
export class RawClient {
  readonly socket: Socket;
  /** All that came, byte for byte as latin1. */
  text = '';
  /** When nothing more can come. */
  readonly closed: Promise<void>;
  #waiting: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('error', () => {}); // A reset is an end like another.
    socket.on('close', () => this.#wake());
  }

  send(bytes: string | Uint8Array): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    return this;
  }

  /** Ends the client's side. */
  end(): this {
    this.socket.end();
    return this;
  }

  get answers(): readonly RawAnswer[] {
    return parseAnswers(this.text);
  }

  /** The first `count` final answers. @throws Error if the connection closes before */
  async answered(count = 1): Promise<readonly RawAnswer[]> {
    await this.until(() => this.answers.length >= count, `${count} answers`);
    return this.answers;
  }

  /** The only answer, once the server has closed the connection. */
  async lastAnswer(): Promise<RawAnswer> {
    await this.closed;
    const { answers } = this;
    const [answer] = answers;
    if (answer === undefined || answers.length > 1) throw new Error(`${answers.length} answers: ${this.text}`);
    return answer;
  }

  async until(condition: () => boolean, what = 'what is awaited'): Promise<void> {
    while (!condition()) {
      if (this.socket.closed) throw new Error(`closed before ${what} had come, after: ${this.text}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    for (const resume of this.#waiting.splice(0)) resume();
  }
}

/** @param allowHalfOpen whether the client keeps its side open after the server has ended its own */
export async function connectRaw(t: TestContext, url: string, allowHalfOpen = false): Promise<RawClient> {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen });
  t.after(() => socket.destroy());
  const client = new RawClient(socket);
  await once(socket, 'connect');
  return client;
}

/** Sends bytes on a new connection; the answer, which must be the only one, when the server has closed it. */
export async function askOnce(t: TestContext, url: string, bytes: string | Uint8Array): Promise<RawAnswer> {
  return await (await connectRaw(t, url)).send(bytes).lastAnswer();
}

/** Whole answers of a stream; interim ones (100 Continue) are left out. */
function parseAnswers(text: string): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let at = 0; at < text.length; ) {
    const headEnd = text.indexOf('\r\n\r\n', at);
    if (headEnd < 0) break;
    const [statusLine = '', ...fields] = text.slice(at, headEnd).split('\r\n');
    const [, digits] = /^HTTP\/1\.1 (\d{3}) /.exec(statusLine) ?? [];
    if (digits === undefined) throw new Error(`no status line: ${statusLine}`);
    const headers = Object.fromEntries(
      fields.map((field) => {
        const colon = field.indexOf(':');
        return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
      }),
    );
    const status = Number(digits);
    at = headEnd + 4;
    if (status < 200) continue;
    const length = Number(headers['content-length'] ?? 0);
    const body = text.slice(at, at + length);
    if (body.length < length) break;
    at += length;
    const isProblem = headers['content-type']?.startsWith('application/problem+json') === true;
    answers.push({ status, headers, body, code: isProblem ? JSON.parse(body).code : undefined });
  }
  return answers;
}
