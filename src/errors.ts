/**
 * Every error that an answer can carry. The codes are public API: one is never reused and never changes its status.
 * Routes throw a `ServiceError`; the error handler of the app writes it as problem+json (RFC 9457).
 */
export const errorTable = {
  // The picture.
  not_an_image: { status: 415, title: 'Not an image' },
  format_not_allowed: { status: 415, title: 'Image format not allowed' },
  image_truncated: { status: 422, title: 'Truncated image' },
  image_corrupt: { status: 422, title: 'Corrupt image' },
  image_too_many_bytes: { status: 413, title: 'Image has too many bytes' },
  image_too_many_pixels: { status: 422, title: 'Image has too many pixels' },
  image_extreme_aspect: { status: 422, title: 'Image has an extreme aspect ratio' },
  // The request.
  empty_body: { status: 400, title: 'Empty body' },
  no_image: { status: 400, title: 'No image in the request' },
  too_many_images: { status: 413, title: 'Too many images in one request' },
  request_too_large: { status: 413, title: 'Request too large' },
  unsupported_media_type: { status: 415, title: 'Unsupported content type' },
  bad_json: { status: 400, title: 'Bad JSON' },
  bad_base64: { status: 400, title: 'Bad base64' },
  bad_multipart: { status: 400, title: 'Bad multipart body' },
  bad_top_k: { status: 400, title: 'Bad top_k' },
  unknown_query_parameter: { status: 400, title: 'Unknown query parameter' },
  bad_request: { status: 400, title: 'Bad request' },
  unauthorized: { status: 401, title: 'Unauthorized' },
  forbidden: { status: 403, title: 'Forbidden' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  request_timeout: { status: 408, title: 'Request timeout' },
  expectation_failed: { status: 417, title: 'Expectation failed' },
  rate_limited: { status: 429, title: 'Rate limited' },
  headers_too_large: { status: 431, title: 'Headers too large' },
  client_closed_request: { status: 499, title: 'Client closed the request' },
  // The model.
  unknown_model: { status: 404, title: 'Unknown model' },
  model_not_ready: { status: 503, title: 'Model not ready' },
  // The server.
  queue_full: { status: 503, title: 'Queue full' },
  overloaded: { status: 503, title: 'Overloaded' },
  shutting_down: { status: 503, title: 'Shutting down' },
  deadline_exceeded: { status: 504, title: 'Deadline exceeded' },
  engine_failed: { status: 500, title: 'Engine failed' },
  internal: { status: 500, title: 'Internal error' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof errorTable;

export interface ServiceErrorOptions extends ErrorOptions {
  readonly retryAfterSeconds?: number;
  readonly members?: Readonly<Record<string, unknown>>;
  readonly endsConnection?: boolean;
}

/**
 * An error without its stack, which takes longer than all else of it. For those that say no to a client, thousands of times a
 * second when it must be; nobody looks where they come from.
 */
export function refusal(code: ErrorCode, detail: string, options: ServiceErrorOptions = {}): ServiceError {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const error = new ServiceError(code, detail, options);
  Error.stackTraceLimit = stackTraceLimit;
  return error;
}

/** `detail` says what was seen, what is allowed and what to do next; it is shown to the client. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError';
  readonly code: ErrorCode;
  /** Sent as the header Retry-After. */
  readonly retryAfterSeconds: number | undefined;
  /** Whether its connection ends with the answer, because what comes after it cannot be trusted to be a request. */
  readonly endsConnection: boolean;

  /** Members of the problem body beside the usual ones (RFC 9457, section 3.2), by the names that clients see. */
  readonly members: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, detail: string, options: ServiceErrorOptions = {}) {
    super(detail, options);
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.members = options.members;
    this.endsConnection = options.endsConnection ?? false;
  }

  get status(): number {
    return errorTable[this.code].status;
  }

  get title(): string {
    return errorTable[this.code].title;
  }
}

/**
 * The engine's process was lost while it had this batch: it died, hung, or answered nonsense. Whether the batch was the
 * reason cannot be told from one loss; another process is on its way, and the batch may be run again.
 */
export class EngineLostError extends ServiceError {
  /** By SIGKILL from without, which no picture can bring about. */
  readonly wasKilled: boolean;

  constructor({ wasKilled, ...options }: ErrorOptions & { readonly wasKilled: boolean }) {
    super('engine_failed', 'The engine was lost with this picture in it.', options);
    this.wasKilled = wasKilled;
  }
}
