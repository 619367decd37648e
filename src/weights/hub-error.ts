const otherwise = 'or fetch the file by other means and put it into the folder';

/**
 * Every way in which weights can fail to come. The text is the second half of the error's message: what to do next. The
 * first half, what was seen, is written where it was seen.
 */
export const hubReasons = {
  // Before any connection.
  bad_url:
    'Weights come over http or https, under a name that ends in the first digits of their SHA-256, as vgg16-397923af.pth does.',
  offline: 'Put the file there, or leave --offline out.',

  // The way to the server.
  unreachable: `Check the network, HTTPS_PROXY and --weights-url, ${otherwise}.`,
  interrupted: 'What has come is kept: the same command goes on from there.',
  tls_failed:
    'Where a company checks its traffic, name its certificate in NODE_EXTRA_CA_CERTS; else do not trust this connection.',
  proxy_failed: `Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY, ${otherwise}.`,
  bad_redirect: `Check the address, ${otherwise}.`,

  // What the server answers.
  not_found: 'Check the address: a mirror (--weights-url) must hold the file under its own name, right below its base.',
  access_denied: `Check the credentials, ${otherwise}.`,
  refused: `Check the address, ${otherwise}.`,
  rate_limited: `Try again later, use a mirror (--weights-url), ${otherwise}.`,
  server_failed: `Try again later, use a mirror (--weights-url), ${otherwise}.`,
  bad_answer: `A server or proxy on the way changes files: use a mirror (--weights-url), ${otherwise}.`,
  html_page: `A web page (a login, a notice, an error) came in place of the file. Check the network and the address, ${otherwise}.`,
  hash_mismatch: 'The partial file is deleted. Try again; if it stays so, the server has another file under this name.',

  // The folder.
  no_space:
    'Make room, or set TORCH_HOME to a folder with more of it; what has come is kept, and the next call goes on from there.',
  no_permission: `Allow this user to write there, set TORCH_HOME to a folder of your own, ${otherwise}.`,
  read_only: `Set TORCH_HOME to a folder that can be written, ${otherwise} where it can be.`,
  folder_unusable: 'Set TORCH_HOME to a folder that can be written.',
} as const satisfies Record<string, string>;

export type HubReason = keyof typeof hubReasons;

/** Weights that could not be fetched. The message says which file, what was seen and what to do. */
export class HubError extends Error {
  override readonly name = 'HubError';
  readonly reason: HubReason;
  /** The name of the file, without its folder. */
  readonly file: string;

  /** @param seen one or more whole sentences */
  constructor(reason: HubReason, file: string, seen: string, options?: ErrorOptions) {
    super(`${file}: ${seen} ${hubReasons[reason]}`, options);
    this.reason = reason;
    this.file = file;
  }
}

/** A failure that may pass: another attempt is worth it. After the last one it becomes a HubError. */
export class TransientError extends Error {
  override readonly name = 'TransientError';
  readonly reason: HubReason;
  /** What the server asked for by Retry-After. */
  readonly retryAfterMs: number | undefined;

  /** @param seen one whole sentence */
  constructor(reason: HubReason, seen: string, options: ErrorOptions & { retryAfterMs?: number | undefined } = {}) {
    super(seen, options);
    this.reason = reason;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** `553.4 MB`; in bytes where that says more. */
export function inMegabytes(bytes: number): string {
  return bytes < 1e6 ? `${bytes} bytes` : `${(bytes / 1e6).toFixed(1)} MB`;
}
