import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import sharp from 'sharp';
import supertest from 'supertest';
import { type Access, openAccess } from '../../src/access/access.js';
import { buildApp } from '../../src/app.js';
import { type Config, parseConfig } from '../../src/config.js';
import { createMetrics, type Metrics } from '../../src/metrics.js';
import type { FetchWeights } from '../../src/model-registry/locate.js';
import { readManifest } from '../../src/model-registry/manifest.js';
import { ModelRegistry } from '../../src/model-registry/registry.js';
import { createPreprocessor, type Preprocessor } from '../../src/preprocessing/preprocessor.js';
import { registryMetrics } from '../../src/registry-metrics.js';
import { catalogue } from '../../src/weights/catalogue.js';
import { ColourEngine, writeColourModel } from './colour-model.js';

export interface Service {
  readonly app: FastifyInstance;
  readonly access: Access;
  readonly url: string;
  readonly http: ReturnType<typeof supertest>;
  readonly registry: ModelRegistry;
  readonly metrics: Metrics;
  readonly engine: ColourEngine;
  /** A line for each request. */
  readonly log: Record<string, unknown>[];
  /** The same as they are written. */
  readonly lines: string[];
}

interface Options {
  readonly models?: readonly string[];
  readonly load?: boolean;
  /** With it, the models' weights are to be fetched. */
  readonly fetchWeights?: FetchWeights;
  /** Stands in for the real one. */
  readonly preprocess?: Preprocessor['preprocess'];
}

/** The real app on a free port, with everything real but the engine. It ends with the test. */
export async function startService(
  t: Pick<TestContext, 'after'>,
  overrides: Partial<Config> = {},
  { models = ['colours'], load = true, fetchWeights, preprocess }: Options = {},
): Promise<Service> {
  const config = { ...parseConfig([], {}, 'serve'), preprocessThreads: 1, ...overrides };
  const dir = await mkdtemp(join(tmpdir(), 'vgg-serve-'));
  const engine = new ColourEngine();
  const metrics = createMetrics();
  const registry = new ModelRegistry({
    startEngine: (_spec, { signal }) => engine.start(signal),
    limits: config,
    threads: 1,
    cacheDir: dir,
    ...(fetchWeights && { fetchWeights }),
    observer: registryMetrics(metrics),
  });
  for (const name of models) {
    const manifest = await readManifest(await writeColourModel(dir, name));
    const [entry] = catalogue;
    registry.add(fetchWeights && entry ? { ...manifest, source: { kind: 'hub', entry } } : manifest);
  }
  if (load) for (const name of models) await registry.load(name);
  const preprocessor = createPreprocessor({
    threads: config.preprocessThreads,
    limits: { maxBytes: config.maxPictureBytes, maxPixels: config.maxPixels, maxAspect: config.maxAspect },
    exifOrientation: false,
  });
  const lines: string[] = [];
  const log: Record<string, unknown>[] = [];
  const logger = pino(
    { base: null },
    {
      write(line) {
        lines.push(line);
        log.push(JSON.parse(line));
      },
    },
  );
  const access = await openAccess(config);
  const app = buildApp({
    ...{ config, access, registry, metrics, logger },
    preprocessor: { ...preprocessor, ...(preprocess && { preprocess }) },
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  lines.length = log.length = 0; // Fastify says where it listens.
  t.after(async () => {
    engine.release();
    await app.close();
    await registry.close();
    await preprocessor.close();
    await rm(dir, { recursive: true });
  });
  const url = app.listeningOrigin;
  return { app, access, url, http: supertest(url), registry, metrics, engine, log, lines };
}

/** A picture of one colour. */
export async function png(background: string, width = 16, height = 12): Promise<Buffer> {
  return await sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();
}

/** Waits for something that is under way. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 2));
}

export async function queueDepth({ metrics }: Service): Promise<number> {
  return (await metrics.queueDepth.get()).values[0]?.value ?? 0;
}
