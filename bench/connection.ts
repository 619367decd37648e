import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

/**
 * One HTTP/1.1 connection for answers with a Content-Length, one request at a time. It costs its process next to nothing:
 * requests come as bytes, and of an answer's head only what is needed is read.
 */
export class Connection {
  readonly #socket: Socket;
  #isOpen = true;
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** What the answer that comes in is long, head and all, once its head is there. */
  #whole = Number.POSITIVE_INFINITY;
  #waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined;

  /** @throws Error when nothing listens there */
  static async open(url: URL): Promise<Connection> {
    const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
    await once(socket, 'connect');
    return new Connection(socket);
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the connection was closed before the answer')));
  }

  /** Whether another request may be sent: neither side has ended it, or said that it would. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** @throws Error when the connection ends before the whole answer is there */
  exchange(request: Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      if (this.#isOpen) this.#socket.write(request);
      else this.#fail(new Error('the connection is closed'));
    });
  }

  /** Sends what may be less than a request, and nothing is waited for. */
  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#whole === Number.POSITIVE_INFINITY) {
      const soFar = Buffer.concat(this.#chunks);
      const headEnd = soFar.indexOf('\r\n\r\n');
      if (headEnd < 0) return;
      const length = /\r\ncontent-length: *(\d+)/i.exec(soFar.toString('latin1', 0, headEnd))?.[1];
      if (length === undefined) this.#fail(new Error('an answer without a Content-Length'));
      else this.#whole = headEnd + 4 + Number(length);
    }
    if (this.#bytes < this.#whole) return;
    const answer = Buffer.concat(this.#chunks);
    const headEnd = answer.indexOf('\r\n\r\n');
    const head = answer.toString('latin1', 0, headEnd);
    if (/\r\nconnection: *close/i.test(head)) this.#isOpen = false;
    this.#chunks = [];
    this.#bytes = 0;
    this.#whole = Number.POSITIVE_INFINITY;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve({ status: Number(head.slice(9, 12)), body: answer.subarray(headEnd + 4) });
  }

  #fail(error: Error): void {
    this.#isOpen = false;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(error);
  }
}

/** A whole request as bytes. */
export function requestBytes(url: URL, contentType: string, body: Buffer): Buffer {
  const head = [
    `POST ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    `Content-Type: ${contentType}`,
    `Content-Length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}
