import type { Dispatcher } from 'undici';
import { ServiceError } from '../errors.js';

const mostRedirects = 5;

/** A picture that its URL does not give. The message says what was seen. */
export class UnreadableUrlError extends Error {
  override readonly name = 'UnreadableUrlError';
}

/** Whether a source is a URL of any scheme, not a file. */
export function isUrl(source: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(source);
}

/** Fetches pictures over http and https, by way of HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
export class UrlReader {
  readonly #maxBytes: number;
  readonly #timeoutMs: number;
  #client: Promise<(url: URL, signal: AbortSignal) => Promise<Dispatcher.ResponseData>> | undefined;
  #close: () => Promise<void> = async () => {};

  /** @param limits `timeoutMs` is for one picture, redirects and all */
  constructor(limits: { readonly maxBytes: number; readonly timeoutMs: number }) {
    this.#maxBytes = limits.maxBytes;
    this.#timeoutMs = limits.timeoutMs;
  }

  /** @throws UnreadableUrlError; ServiceError `image_too_many_bytes` for a body that goes beyond, without having read it all */
  async read(source: string): Promise<Uint8Array> {
    const signal = AbortSignal.timeout(this.#timeoutMs);
    try {
      return await this.#readBody(await this.#follow(source, signal));
    } catch (error) {
      if (error instanceof ServiceError || error instanceof UnreadableUrlError) throw error;
      if (signal.aborted) throw new UnreadableUrlError(`not there within ${this.#timeoutMs} ms (--timeout-ms)`);
      const { message, code } = error as NodeJS.ErrnoException;
      throw new UnreadableUrlError(message || (code ?? 'no connection'), { cause: error });
    }
  }

  async close(): Promise<void> {
    await this.#close();
  }

  /** The first answer that is no redirect. */
  async #follow(source: string, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    let url = parseUrl(source);
    this.#client ??= this.#connect();
    const request = await this.#client;
    for (let redirects = 0; redirects <= mostRedirects; redirects++) {
      const answer = await request(url, signal);
      const { location } = answer.headers;
      if (answer.statusCode < 300 || answer.statusCode > 399 || typeof location !== 'string') return answer;
      await answer.body.dump();
      url = parseUrl(location, url);
    }
    throw new UnreadableUrlError(`more than ${mostRedirects} redirects`);
  }

  /** The HTTP library is loaded for the first URL only. */
  async #connect() {
    const { EnvHttpProxyAgent, request } = await import('undici');
    const dispatcher = new EnvHttpProxyAgent();
    this.#close = () => dispatcher.destroy();
    const headers = { 'user-agent': 'vgg-serve', accept: 'image/*', 'accept-encoding': 'identity' };
    return (url: URL, signal: AbortSignal) => request(url, { dispatcher, headers, signal });
  }

  async #readBody({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<Uint8Array> {
    try {
      if (statusCode !== 200) throw new UnreadableUrlError(`the server answers ${statusCode}`);
      if (Number(headers['content-length']) > this.#maxBytes) throw this.#tooLarge();
      const chunks: Uint8Array[] = [];
      let byteLength = 0;
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        byteLength += chunk.byteLength;
        if (byteLength > this.#maxBytes) throw this.#tooLarge();
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    } finally {
      body.on('error', () => {}).destroy();
    }
  }

  #tooLarge(): ServiceError {
    return new ServiceError('image_too_many_bytes', `The picture has more than the ${this.#maxBytes} bytes allowed.`);
  }
}

function parseUrl(text: string, base?: URL): URL {
  const url = URL.canParse(text, base?.href) ? new URL(text, base) : undefined;
  if (url === undefined) throw new UnreadableUrlError('not a URL');
  if (['http:', 'https:'].includes(url.protocol)) return url;
  throw new UnreadableUrlError(`pictures are fetched over http and https, not over ${url.protocol.slice(0, -1)}`);
}
