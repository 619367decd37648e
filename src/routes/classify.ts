import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, ServiceError } from '../errors.js';
import type { Answered, Arrival, Model } from '../model-registry/model.js';
import { topK } from '../model-registry/top-k.js';
import { type RequestSignal, requestSignal, unlessAborted } from './abort.js';
import { readClassifyQuery } from './classify-query.js';
import type { RouteDeps } from './deps.js';
import { dropBody } from './drop-body.js';
import { Journey, type Stage } from './journey.js';
import { asServiceError, problemOf } from './problem.js';
import { readUploads } from './read-uploads.js';
import { type RequestRecord, type Timings, toMicroseconds } from './record.js';
import { refusalCodes } from './refusal-log.js';
import { RefusalPace } from './refusal-pace.js';
import { requestTimeoutMs } from './request-timeout.js';
import type { Route } from './route.js';
import type { Upload } from './upload.js';
import { UploadBytes } from './upload-bytes.js';

/** Why a request is given up, by the reason of its signal. */
const abandonedBy: { readonly [code in ErrorCode]?: 'client' | 'deadline' } = {
  client_closed_request: 'client',
  deadline_exceeded: 'deadline',
};

/** What became of one picture. */
type Outcome =
  | { readonly file: string | null; readonly decodeMs: number; readonly answered: Answered }
  | { readonly file: string | null; readonly error: ServiceError };

interface Decoded {
  /** [crop, crop, 3] */
  readonly pixels: Uint8Array;
  readonly decodeMs: number;
}

/** What the pictures of one request share. */
interface Way {
  readonly model: Model;
  readonly signal: RequestSignal;
  readonly deadlineAt: number;
  readonly journey: Journey;
  /** One picture is decoded, or never will be. */
  readonly onDecoded: () => void;
}

export function classifyRoutes({ config, registry, preprocessor, metrics, drain }: RouteDeps): Route[] {
  const uploadBytes = new UploadBytes(config.maxUploadBytes, (bytes) => metrics.uploadBytes.set(bytes));
  const pace = new RefusalPace(() => drain.isLeaving);
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

    const timeoutMs = requestTimeoutMs(request.headers, config.timeoutMs);
    const deadlineAt = record.startedAt + timeoutMs;
    const outcomes = await outcomesOf(request, model, deadlineAt, timeoutMs).catch(async (error: unknown) => {
      if (error instanceof ServiceError && refusalCodes.has(error.code)) await pace.turn(record, deadlineAt);
      throw error;
    });
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

  /** @throws ServiceError that the whole request is answered with */
  async function outcomesOf(
    request: FastifyRequest,
    model: Model,
    deadlineAt: number,
    timeoutMs: number,
  ): Promise<Outcome[]> {
    const arrival = admit(request, model, deadlineAt); // Before the body is read: a refusal costs little.
    const outcomes = await answerPictures(request, model, arrival, deadlineAt, timeoutMs);
    const failure = failureOfAll(outcomes);
    if (failure !== undefined) throw failure;
    return outcomes;
  }

  function admit({ raw }: FastifyRequest, model: Model, deadlineAt: number): Arrival {
    try {
      return model.admit(deadlineAt);
    } catch (error) {
      dropBody(raw);
      throw error;
    }
  }

  async function answerPictures(
    request: FastifyRequest,
    model: Model,
    arrival: Arrival,
    deadlineAt: number,
    timeoutMs: number,
  ): Promise<Outcome[]> {
    const { record } = request;
    const hold = uploadBytes.hold();
    const journey = new Journey();
    const signal = requestSignal(record, deadlineAt, timeoutMs);
    signal.onabort = () => countAbandoned(journey, signal, model);
    try {
      // No variable here holds the uploads: their bytes go when they are decoded, not when they are answered.
      return await unlessAborted(signal, readUploads(request, config, hold, signal)).then((uploads) => {
        record.pictures = uploads.length;
        journey.uploaded(uploads.length);
        arrival.expect(uploads.length);
        let undecoded = uploads.length;
        const onDecoded = () => {
          arrival.arrived();
          if (--undecoded === 0) hold.release();
        };
        const way: Way = { model, signal, deadlineAt, journey, onDecoded };
        return Promise.all(uploads.map((upload) => classifyPicture(upload, way)));
      });
    } finally {
      arrival.end();
      hold.release();
    }
  }

  /** Not an async function: that would hold the bytes until the picture is answered. */
  function classifyPicture(upload: Upload, way: Way): Promise<Outcome> {
    if (!('error' in upload)) return answerDecoded(upload.file, decode(upload.bytes, way), way);
    way.journey.move('decode');
    way.onDecoded();
    return Promise.resolve(upload);
  }

  async function decode(bytes: Uint8Array, { model, signal, journey, onDecoded }: Way): Promise<Decoded> {
    try {
      const startedAt = performance.now();
      const { transforms } = model.manifest;
      const pixels = await unlessAborted(signal, preprocessor.preprocess(bytes, transforms, signal));
      const decodeMs = performance.now() - startedAt;
      metrics.decode.observe({ model: model.name }, decodeMs / 1000);
      journey.move('decode', 'queue');
      return { pixels, decodeMs };
    } catch (error) {
      journey.move('decode');
      throw error;
    } finally {
      onDecoded();
    }
  }

  async function answerDecoded(file: string | null, decoding: Promise<Decoded>, way: Way): Promise<Outcome> {
    const { model, signal, deadlineAt, journey } = way;
    try {
      const { pixels, decodeMs } = await decoding;
      let stage: Stage = 'queue';
      const onRun = () => {
        journey.move('queue', 'engine');
        stage = 'engine';
      };
      try {
        const answering = model.classify(pixels, { signal, deadlineAt, onRun });
        return { file, decodeMs, answered: await unlessAborted(signal, answering) };
      } catch (error) {
        // The queue's clock may be ahead of the request's own by a moment.
        if (error instanceof ServiceError && error.code === 'deadline_exceeded') signal.abort(error);
        throw error;
      } finally {
        journey.move(stage);
      }
    } catch (error) {
      return { file, error: asServiceError(error) };
    }
  }

  function countAbandoned({ stage }: Journey, { reason }: RequestSignal, { name }: Model): void {
    const why = abandonedBy[(reason as ServiceError).code];
    if (stage !== undefined && why !== undefined) metrics.abandoned.inc({ model: name, stage, reason: why });
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
  return { file, error: { code, title, status, detail, ...outcome.error.members } };
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
