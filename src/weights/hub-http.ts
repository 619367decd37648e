import type { Dispatcher } from 'undici';
import { chunksOf } from './hub-body.js';
import { HubError, TransientError } from './hub-error.js';
import type { Patience } from './hub-retry.js';

export interface Answer {
  readonly status: number;
  /** Names in lower case; undefined where there is none, the first of several. */
  header(name: string): string | undefined;
  /** Throws HubError or TransientError, or the reason of the signal. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Ends the connection. To be called when the rest is not wanted. */
  close(): void;
}

type Ask = (url: URL, headers: Record<string, string>, signal: AbortSignal) => Promise<Dispatcher.ResponseData>;

const mostRedirects = 5;

/** Requests by way of HTTP_PROXY, HTTPS_PROXY and NO_PROXY, redirects followed, errors as this part's own. */
export class HubClient {
  readonly #agent: Dispatcher;
  readonly #ask: Ask;
  readonly #file: string;
  readonly #idleMs: number;

  private constructor(agent: Dispatcher, ask: Ask, file: string, idleMs: number) {
    this.#agent = agent;
    this.#ask = ask;
    this.#file = file;
    this.#idleMs = idleMs;
  }

  /** Loads its HTTP library only now: most starts find the file and open no connection. */
  static async open(file: string, { connectMs, idleMs }: Patience): Promise<HubClient> {
    const { EnvHttpProxyAgent, interceptors, request } = await import('undici');
    const times = { headersTimeout: idleMs, bodyTimeout: idleMs };
    try {
      // Many proxies allow tunnels for https alone, so that http goes by them as plain requests.
      const agent = new EnvHttpProxyAgent({ ...times, connect: { timeout: connectMs }, proxyTunnel: false });
      const dispatcher = agent.compose(interceptors.redirect({ maxRedirections: mostRedirects }));
      const ask: Ask = (url, headers, signal) => request(url, { dispatcher, headers, signal, ...times });
      return new HubClient(agent, ask, file, idleMs);
    } catch (error) {
      throw new HubError('proxy_failed', file, `The proxy that is set cannot be used: ${(error as Error).message}.`, {
        cause: error,
      });
    }
  }

  /** Throws HubError or TransientError, or the reason of the signal. */
  async request(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<Answer> {
    const bare = new URL(url);
    bare.username = '';
    bare.password = '';
    const sent: Record<string, string> = { 'user-agent': 'vgg-serve', 'accept-encoding': 'identity', ...headers };
    if (url.username !== '') sent.authorization = basicAuthorization(url);
    try {
      const { statusCode, headers: received, body } = await this.#ask(bare, sent, signal);
      return {
        status: statusCode,
        header: (name) => [received[name]].flat()[0],
        chunks: this.#translated(chunksOf(body), signal),
        close: () => void body.destroy(),
      };
    } catch (error) {
      signal.throwIfAborted();
      throw this.#asOurs(error as NodeJS.ErrnoException, `${bare.host} gave no answer`);
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async *#translated(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncIterable<Uint8Array> {
    try {
      yield* chunks;
    } catch (error) {
      signal.throwIfAborted();
      throw this.#asOurs(error as NodeJS.ErrnoException, 'The connection was cut');
    }
  }

  #asOurs(error: NodeJS.ErrnoException, seen: string): Error {
    const { code = '' } = error;
    const message = error.message.replace(/\.$/, '');
    const cause = { cause: error };
    const isLate = code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT';
    if (isLate) return new TransientError('interrupted', `No byte came for ${this.#idleMs / 1000} s.`, cause);
    const proxyStatus = /^Proxy .*\((\d+)\)/.exec(message)?.[1];
    if (proxyStatus !== undefined && isWorthAnother(Number(proxyStatus))) {
      return new TransientError('proxy_failed', `The proxy answered ${proxyStatus}.`, cause);
    }
    if (proxyStatus !== undefined || code === 'UND_ERR_PRX_TLS') {
      return new HubError('proxy_failed', this.#file, `The proxy did not let it through: ${message}.`, cause);
    }
    if (isOfTls(code)) {
      return new HubError('tls_failed', this.#file, `The connection is not safe: ${message} (${code}).`, cause);
    }
    // The address itself was looked at before: it is one that the server led to.
    if (code === 'UND_ERR_INVALID_ARG' || code === 'ERR_INVALID_URL') {
      return new HubError('bad_redirect', this.#file, `The server leads nowhere: ${message}.`, cause);
    }
    const reason = isOfConnecting(code) ? 'unreachable' : 'interrupted';
    return new TransientError(reason, `${seen}: ${message || code}.`, cause);
  }
}

/** Whether a status may be another one at the next attempt. */
export function isWorthAnother(status: number): boolean {
  return status >= 500 || status === 408 || status === 425 || status === 429;
}

function basicAuthorization({ username, password }: URL): string {
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

/** Node's and OpenSSL's names for a certificate that does not hold, and EPROTO for an answer that is not TLS. */
function isOfTls(code: string): boolean {
  return /^(CERT_|ERR_TLS_|ERR_SSL_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|HOSTNAME_MISMATCH|EPROTO)/.test(code);
}

const codesOfConnecting = [
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
];

function isOfConnecting(code: string): boolean {
  return codesOfConnecting.includes(code);
}
