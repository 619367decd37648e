import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/**
 * One kept HTTP/1.1 connection that sends the same request again and again and costs next to nothing itself: the bytes
 * are put together once, and an answer is whole when Content-Length says so.
 */
export class LeanClient {
  readonly #socket: Socket;
  readonly #request: Buffer;

  private constructor(socket: Socket, request: Buffer) {
    this.#socket = socket;
    this.#request = request;
  }

  static async open(url: URL, contentType: string, body: Buffer): Promise<LeanClient> {
    const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
    await once(socket, 'connect');
    const head = `POST ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Type: ${contentType}\r\nContent-Length: ${body.length}\r\n\r\n`;
    return new LeanClient(socket, Buffer.concat([Buffer.from(head), body]));
  }

  /** Sends the request and resolves to the body of the answer. @throws Error unless its status is 200 */
  send(): Promise<Buffer> {
    const socket = this.#socket;
    const chunks: Buffer[] = [];
    return new Promise((resolve, reject) => {
      const onData = (chunk: Buffer) => {
        chunks.push(chunk);
        const answer = Buffer.concat(chunks);
        const headEnd = answer.indexOf('\r\n\r\n');
        if (headEnd < 0) return;
        const head = answer.toString('latin1', 0, headEnd);
        const body = answer.subarray(headEnd + 4);
        if (body.length < Number(/^content-length: (\d+)/im.exec(head)?.[1])) return;
        socket.off('data', onData).off('error', reject);
        if (head.startsWith('HTTP/1.1 200 ')) resolve(body);
        else reject(new Error(answer.toString()));
      };
      socket.on('data', onData).on('error', reject);
      socket.write(this.#request);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}
