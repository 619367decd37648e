import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Credential } from '../access/key-file.js';
import { errorTable, type ServiceError } from '../errors.js';
import type { Metrics } from '../metrics.js';
import { type RefusalLog, refusalCodes } from './refusal-log.js';

/** What the log line and the metrics of a request tell. Routes fill it in as they come to know it. */
export interface RequestRecord {
  /** On the clock of `performance.now()`. */
  readonly startedAt: number;
  /** The name of a model that exists; never just what the client wrote. */
  model?: string;
  pictures?: number;
  timings?: Timings;
  batchSize?: number;
  /** What the request was answered with. */
  error?: ServiceError;
  /** Of single pictures among several: those that are this program's fault. */
  pictureFaults?: ServiceError[];
  /** Asks for the body of a client that waits for that (Expect: 100-continue). */
  readonly askForBody?: () => void;
  /** Set while the body is read. Called when what comes of it can be read no further, or does not come in time. */
  onBodyFault?: ((error: ServiceError) => void) | undefined;
  /** Where a key was sent and looked at: whose it is, undefined for nobody's. */
  credential?: { readonly holder: Credential | undefined };
  /** The client's address, of requests that are refused for who asks or how often. Of others it is not kept. */
  client?: string;
  /** Called once the answer was sent or, with false, the client has left. */
  onClose?: (wasSent: boolean) => void;
}

/** Milliseconds, to the microsecond. */
export interface Timings {
  readonly decode: number;
  readonly queue: number;
  readonly compute: number;
  readonly total: number;
}

declare module 'fastify' {
  interface FastifyRequest {
    record: RequestRecord;
  }
}

/**
 * Begins the record of a request, and logs and counts it when its answer is sent or its client has left.
 * @param refusals takes the place of the log for those
 * @param onClosed called after that
 */
export function openRecord(
  request: FastifyRequest,
  reply: FastifyReply,
  metrics: Metrics,
  refusals: RefusalLog,
  onClosed?: () => void,
): void {
  const { expect } = request.raw.headers;
  request.record = {
    startedAt: performance.now(),
    ...(expect !== undefined && request.raw.httpVersion === '1.1' && { askForBody: () => reply.raw.writeContinue() }),
  };
  reply.header('x-request-id', request.id);
  metrics.inFlight.inc();
  // The one listener for the end of a request.
  reply.raw.on('close', () => {
    metrics.inFlight.dec();
    request.record.onClose?.(reply.raw.writableFinished);
    closeRecord(request, reply, metrics, refusals);
    onClosed?.();
  });
}

function closeRecord(request: FastifyRequest, reply: FastifyReply, metrics: Metrics, refusals: RefusalLog): void {
  const {
    startedAt,
    model = '',
    pictures,
    timings,
    batchSize,
    error,
    pictureFaults = [],
    credential,
    client,
  } = request.record;
  const wasSent = reply.raw.writableFinished;
  const status = wasSent ? reply.statusCode : errorTable.client_closed_request.status;
  const code = wasSent ? error?.code : 'client_closed_request';
  const route = request.routeOptions.url ?? '';
  const durationMs = performance.now() - startedAt;

  metrics.requests.inc({ route, model, status });
  metrics.requestDuration.observe({ route, model }, durationMs / 1000);
  if (code !== undefined) metrics.errors.inc({ model, code });
  const key = credential?.holder?.name;
  if (key !== undefined) metrics.requestsByKey.inc({ key });

  if (code !== undefined && refusalCodes.has(code)) {
    refusals.add(model, code);
    return;
  }
  const faults = error?.status === 500 ? [error, ...pictureFaults] : pictureFaults;
  const level = faults.length > 0 ? 'error' : status >= 500 ? 'warn' : 'info';
  request.log[level](
    {
      method: request.method,
      ...(route === '' ? { path: pathOf(request) } : { route }),
      status,
      code,
      key,
      client,
      model: model || undefined,
      pictures,
      batch_size: batchSize,
      timings_ms: timings,
      duration_ms: toMicroseconds(durationMs),
      err: faults.length > 1 ? new AggregateError(faults, 'several pictures failed') : faults[0],
    },
    'request',
  );
}

/** Rounds milliseconds to the microsecond, which is finer than the clock is true. */
export function toMicroseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** Without the query, and no longer than fits into a line. */
export function pathOf({ url }: FastifyRequest): string {
  return (url.split('?')[0] as string).slice(0, 200);
}
