import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** From 0.5 ms, a small picture's decoding, to 30 s, the deadline of a request. */
const seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const powersOfTwo = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/**
 * Every metric of our own. Units are base units. A label's values come from the configuration or from a table of the
 * code, never from a client: `model` is the name of a model that exists, or empty where none was found; `route` is the
 * pattern of a route, or empty where none matched.
 */
const table = {
  requestDuration: {
    kind: 'histogram',
    name: 'vgg_serve_request_duration_seconds',
    help: 'From the arrival of the request until its answer was sent.',
    labels: ['route', 'model'],
    buckets: seconds,
  },
  decode: {
    kind: 'histogram',
    name: 'vgg_serve_decode_seconds',
    help: 'Decoding, resizing and cropping of one picture, with its wait for a free thread.',
    labels: ['model'],
    buckets: seconds,
  },
  queueWait: {
    kind: 'histogram',
    name: 'vgg_serve_queue_wait_seconds',
    help: "One picture's wait for the engine.",
    labels: ['model'],
    buckets: seconds,
  },
  compute: {
    kind: 'histogram',
    name: 'vgg_serve_compute_seconds',
    help: 'One batch inside the engine.',
    labels: ['model'],
    buckets: seconds,
  },
  batchSize: {
    kind: 'histogram',
    name: 'vgg_serve_batch_size',
    help: 'Pictures in one batch.',
    labels: ['model'],
    buckets: powersOfTwo,
  },
  requests: {
    kind: 'counter',
    name: 'vgg_serve_requests_total',
    help: 'Requests by the status of their answer; 499 where the client left first.',
    labels: ['route', 'model', 'status'],
  },
  requestsByKey: {
    kind: 'counter',
    name: 'vgg_serve_requests_by_key_total',
    help: 'Requests by the name of their key, as the file of keys has it; those without a valid key are not in it.',
    labels: ['key'],
  },
  errors: {
    kind: 'counter',
    name: 'vgg_serve_errors_total',
    help: 'Errors by code: those of whole requests, and those of single pictures among several.',
    labels: ['model', 'code'],
  },
  abandoned: {
    kind: 'counter',
    name: 'vgg_serve_requests_abandoned_total',
    help: 'Requests that were given up, by where their slowest picture was (upload, decode, queue, engine), because the client left or the deadline passed.',
    labels: ['model', 'stage', 'reason'],
  },
  engineRestarts: {
    kind: 'counter',
    name: 'vgg_serve_engine_restarts_total',
    help:
      'Engine processes that were lost and started again: killed by a signal, exited (or not able to start), hung beyond ' +
      '--engine-timeout-ms, or with an answer that is garbage.',
    labels: ['model', 'reason'],
  },
  engineUp: {
    kind: 'gauge',
    name: 'vgg_serve_engine_up',
    help: 'Engine processes that live and are ready: 0 or 1, and up to the number of GPUs on several.',
    labels: ['model'],
  },
  inFlight: {
    kind: 'gauge',
    name: 'vgg_serve_requests_in_flight',
    help: 'Requests that have arrived and are not answered yet.',
    labels: [],
  },
  connections: {
    kind: 'gauge',
    name: 'vgg_serve_connections',
    help: 'Connections that are open.',
    labels: [],
  },
  connectionsDropped: {
    kind: 'counter',
    name: 'vgg_serve_connections_dropped_total',
    help: 'Connections that were closed as soon as they came, because --max-connections were open.',
    labels: [],
  },
  queueDepth: {
    kind: 'gauge',
    name: 'vgg_serve_queue_depth',
    help: 'Pictures that wait for the engine.',
    labels: ['model'],
  },
  predictedWait: {
    kind: 'gauge',
    name: 'vgg_serve_predicted_wait_seconds',
    help: 'When a picture that came at the moment of the scrape would be answered, from what was learnt of the speed; 0 before the first run.',
    labels: ['model'],
  },
  uploadBytes: {
    kind: 'gauge',
    name: 'vgg_serve_upload_bytes',
    help: 'Bytes of bodies in memory whose pictures are not decoded yet.',
    labels: [],
  },
  modelState: {
    kind: 'gauge',
    name: 'vgg_serve_model_state',
    help: '1 for the state that the model is in, 0 for the others.',
    labels: ['model', 'state'],
  },
  modelInfo: {
    kind: 'gauge',
    name: 'vgg_serve_model_info',
    help: 'Always 1, for each model that is ready; its labels are what it runs on, to be joined to other series by model.',
    labels: ['model', 'engine', 'engine_version', 'device', 'device_name', 'precision', 'isa'],
  },
  agreement: {
    kind: 'gauge',
    name: 'vgg_serve_model_agreement_ratio',
    help: 'On which part of the sample pictures the likeliest class is that of fp32, for each model of another precision.',
    labels: ['model'],
  },
  probabilityDifference: {
    kind: 'gauge',
    name: 'vgg_serve_model_probability_difference',
    help: 'The largest difference of a probability from that of fp32 on the sample pictures.',
    labels: ['model'],
  },
  loadDuration: {
    kind: 'gauge',
    name: 'vgg_serve_model_load_seconds',
    help: 'How long the last load of the model took that succeeded.',
    labels: ['model'],
  },
} as const satisfies Record<string, Row>;

type Row =
  | { kind: 'counter' | 'gauge'; name: string; help: string; labels: readonly string[] }
  | { kind: 'histogram'; name: string; help: string; labels: readonly string[]; buckets: readonly number[] };

type MetricOf<R extends Row> = {
  counter: Counter<R['labels'][number]>;
  gauge: Gauge<R['labels'][number]>;
  histogram: Histogram<R['labels'][number]>;
}[R['kind']];

/** The metrics of the table by their key, and the registry that renders them. */
export type Metrics = { readonly [Key in keyof typeof table]: MetricOf<(typeof table)[Key]> } & {
  readonly registry: Registry;
};

/** On a registry of its own, with Node's default metrics (process_*, nodejs_*). */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const metrics = Object.entries<Row>(table).map(([key, row]) => [key, createMetric(row, registry)]);
  // The entries are those of the mapped type: each row gives its key and the metric of its kind.
  return { ...(Object.fromEntries(metrics) as Omit<Metrics, 'registry'>), registry };
}

function createMetric(row: Row, registry: Registry): Counter | Gauge | Histogram {
  const common = { name: row.name, help: row.help, labelNames: row.labels, registers: [registry] };
  switch (row.kind) {
    case 'counter':
      return new Counter(common);
    case 'gauge':
      return new Gauge(common);
    case 'histogram':
      return new Histogram({ ...common, buckets: [...row.buckets] });
    default:
      return row satisfies never;
  }
}
