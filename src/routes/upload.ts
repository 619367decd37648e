import type { FastifyRequest } from 'fastify';
import type { Config } from '../config.js';
import { ServiceError } from '../errors.js';

/** One picture of a request, or why it cannot be had while the others can. */
export type Upload =
  | { readonly file: string | null; readonly bytes: Uint8Array }
  | { readonly file: string | null; readonly error: ServiceError };

export type UploadLimits = Pick<Config, 'maxPictures' | 'maxPictureBytes' | 'maxRequestBytes'>;

/**
 * The whole body. After an error, and once `signal` is aborted, what is left of it still comes in, and is dropped: a client that looks for an answer only
 * when it has sent everything gets one.
 * @throws ServiceError `empty_body`, or that of `tooLarge` as soon as there are more than `maxBytes`
 */
export async function readBody(
  { raw, record }: FastifyRequest,
  maxBytes: number,
  tooLarge: () => ServiceError,
  signal: AbortSignal,
): Promise<Buffer> {
  if (Number(raw.headers['content-length']) > maxBytes) throw tooLarge();
  record.askForBody?.();
  const body = await new Promise<Buffer>((resolve, reject) => {
    const chunks = new Chunks();
    let length = 0;
    const onData = (chunk: Buffer) => {
      length += chunk.length;
      if (length <= maxBytes) chunks.push(chunk);
      else fail(tooLarge());
    };
    const onEnd = () => {
      stopListening();
      resolve(chunks.concat());
    };
    const fail = (error: unknown) => {
      stopListening();
      raw.resume();
      reject(error);
    };
    const onAbort = () => fail(signal.reason);
    // Request and signal live until the answer is sent. Through these listeners they would keep the bytes as long.
    const stopListening = () => {
      raw.off('data', onData).off('end', onEnd).off('error', fail);
      signal.removeEventListener('abort', onAbort);
    };
    raw.on('data', onData).on('end', onEnd).on('error', fail);
    signal.addEventListener('abort', onAbort);
  });
  if (body.length === 0) throw emptyBody();
  return body;
}

/** A chunk is an object of some 200 bytes besides its own: of those that are smaller than this, only the first few are kept. */
const smallBytes = 4096;
const mostSmall = 4;
const blockBytes = 65_536;

/** Collects a body in about the memory of its bytes, in however many chunks it comes. */
export class Chunks {
  readonly #parts: Buffer[] = [];
  /** Small chunks are copied into it. What lies before `start` is in `parts` already. */
  #block: Buffer | undefined;
  #start = 0;
  #end = 0;

  push(chunk: Buffer): void {
    if (chunk.length >= smallBytes || this.#parts.length < mostSmall) {
      this.#takeCopied();
      this.#parts.push(chunk);
      return;
    }
    if (this.#block === undefined || this.#end + chunk.length > blockBytes) {
      this.#takeCopied();
      this.#block = Buffer.allocUnsafe(blockBytes);
      this.#start = this.#end = 0;
    }
    this.#end += chunk.copy(this.#block, this.#end);
  }

  concat(): Buffer {
    this.#takeCopied();
    const [first] = this.#parts;
    return first !== undefined && this.#parts.length === 1 ? first : Buffer.concat(this.#parts);
  }

  #takeCopied(): void {
    if (this.#block === undefined || this.#start === this.#end) return;
    this.#parts.push(this.#block.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }
}

export function tooManyBytes(maxPictureBytes: number): ServiceError {
  const detail = `The picture has more than the ${maxPictureBytes} bytes allowed. Make it smaller: the network sees little of it.`;
  return new ServiceError('image_too_many_bytes', detail);
}

export function requestTooLarge({ maxRequestBytes }: UploadLimits): ServiceError {
  const detail = `The body has more than the ${maxRequestBytes} bytes allowed. Send smaller pictures, or fewer at once.`;
  return new ServiceError('request_too_large', detail);
}

export function tooManyImages({ maxPictures }: UploadLimits): ServiceError {
  return new ServiceError(
    'too_many_images',
    `The request has more than the ${maxPictures} pictures allowed. Send them in several requests.`,
  );
}

export function emptyBody(): ServiceError {
  return new ServiceError('empty_body', 'The body is empty. Send a picture: curl -F image=@FILE .../classify');
}
