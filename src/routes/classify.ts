import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServiceError } from '../errors.js';
import type { Answered, Model } from '../model-registry/model.js';
import { topK } from '../model-registry/top-k.js';
import { requestSignal, unlessAborted } from './abort.js';
import { readClassifyQuery } from './classify-query.js';
import type { RouteDeps } from './deps.js';
import { asServiceError, problemOf } from './problem.js';
import { readUploads } from './read-uploads.js';
import { type RequestRecord, type Timings, toMicroseconds } from './record.js';
import type { Route } from './route.js';
import type { Upload } from './upload.js';

/** What became of one picture. */
type Outcome =
  | { readonly file: string | null; readonly decodeMs: number; readonly answered: Answered }
  | { readonly file: string | null; readonly error: ServiceError };

export function classifyRoutes({ config, registry, preprocessor, metrics }: RouteDeps): Route[] {
  return [
    {
      method: 'POST',
      url: '/classify',
      summary:
        'What is in each picture. Takes multipart files, one raw picture, or JSON with base64; ?model= and ?top_k=',
      handler: classify,
    },
  ];

  async function classify(request: FastifyRequest, reply: FastifyReply) {
    const { record } = request;
    const query = readClassifyQuery(request.query, config.topK);
    const model = registry.get(query.model);
    record.model = model.name;

    const deadlineAt = record.startedAt + config.timeoutMs;
    const signal = requestSignal(record, deadlineAt, config.timeoutMs);
    const uploads = await unlessAborted(signal, readUploads(request, config));
    record.pictures = uploads.length;

    const outcomes = await Promise.all(uploads.map((upload) => classifyPicture(upload, model, signal, deadlineAt)));
    const failure = failureOfAll(outcomes);
    if (failure !== undefined) throw failure;
    recordPictureErrors(outcomes, record);

    const timings = timingsOf(outcomes, record.startedAt);
    record.timings = timings;
    record.batchSize = largest(outcomes, ({ answered }) => answered.batchSize);
    reply.header('server-timing', serverTiming(timings));
    return {
      model: model.name,
      weights: model.manifest.weights,
      engine: model.info.engine,
      device: model.info.device,
      precision: model.info.precision,
      ...(model.manifest.source.kind === 'untrained' && { untrained: true }),
      results: outcomes.map((outcome) => resultOf(outcome, query.topK, model.manifest.categories)),
      timings_ms: timings,
      batch_size: record.batchSize,
    };
  }

  async function classifyPicture(
    upload: Upload,
    model: Model,
    signal: AbortSignal,
    deadlineAt: number,
  ): Promise<Outcome> {
    const { file } = upload;
    if ('error' in upload) return upload;
    try {
      const decodeStartedAt = performance.now();
      const pixels = await unlessAborted(
        signal,
        preprocessor.preprocess(upload.bytes, model.manifest.transforms, signal),
      );
      const decodeMs = performance.now() - decodeStartedAt;
      metrics.decode.observe({ model: model.name }, decodeMs / 1000);
      return { file, decodeMs, answered: await unlessAborted(signal, model.classify(pixels, { signal, deadlineAt })) };
    } catch (error) {
      return { file, error: asServiceError(error) };
    }
  }

  /** Among several pictures the errors of single ones do not become the request's: they are counted here. */
  function recordPictureErrors(outcomes: readonly Outcome[], record: RequestRecord): void {
    const errors = outcomes.flatMap((outcome) => ('error' in outcome ? [outcome.error] : []));
    for (const { code } of errors) metrics.errors.inc({ model: record.model ?? '', code });
    record.pictureFaults = errors.filter(({ status }) => status === 500);
  }
}

/**
 * The error that the whole request is answered with: that of its only picture, or that of the first of several if all
 * failed for a reason that lies with the server (queue full, deadline, engine).
 */
function failureOfAll(outcomes: readonly Outcome[]): ServiceError | undefined {
  const [first] = outcomes;
  if (first === undefined || !('error' in first)) return undefined;
  if (outcomes.length === 1) return first.error;
  return outcomes.every((outcome) => 'error' in outcome && outcome.error.status >= 500) ? first.error : undefined;
}

function resultOf(outcome: Outcome, k: number, categories: readonly string[]) {
  const { file } = outcome;
  if (!('error' in outcome)) return { file, predictions: topK(outcome.answered.logits, k, categories) };
  const { code, title, status, detail } = problemOf(outcome.error);
  return { file, error: { code, title, status, detail } };
}

/**
 * The pictures of a request go their way side by side, so each step takes as long as the slowest picture took for it.
 * `total` runs from the request's arrival, with the time that its body took to come in.
 */
function timingsOf(outcomes: readonly Outcome[], startedAt: number): Timings {
  return {
    decode: toMicroseconds(largest(outcomes, ({ decodeMs }) => decodeMs)),
    queue: toMicroseconds(largest(outcomes, ({ answered }) => answered.queueMs)),
    compute: toMicroseconds(largest(outcomes, ({ answered }) => answered.computeMs)),
    total: toMicroseconds(performance.now() - startedAt),
  };
}

/** The value of the header Server-Timing (W3C, Server Timing, section 3). */
function serverTiming(timings: Timings): string {
  const metrics = Object.entries(timings).map(([step, ms]) => `${step};dur=${ms}`);
  return metrics.join(', ');
}

/** Over the pictures that were answered; 0 if none was. */
function largest(outcomes: readonly Outcome[], measure: (outcome: Extract<Outcome, { answered: Answered }>) => number) {
  return outcomes.reduce((most, outcome) => ('error' in outcome ? most : Math.max(most, measure(outcome))), 0);
}
