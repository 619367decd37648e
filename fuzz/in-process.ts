import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InjectOptions } from 'fastify';
import { pino } from 'pino';
import { openAccess } from '../src/access/access.js';
import { buildApp } from '../src/app.js';
import { parseConfig } from '../src/config.js';
import { startOnDevice } from '../src/engines/start.js';
import { createMetrics } from '../src/metrics.js';
import { ModelRegistry } from '../src/model-registry/registry.js';
import { resolveModel } from '../src/model-registry/resolve.js';
import { createPreprocessor } from '../src/preprocessing/preprocessor.js';
import { outcomeOf, troubleInLog } from './answer.js';
import { Finding, type Outcome } from './finding.js';
import type { RawRequest } from './requests.js';

export interface InProcess {
  /** @throws Finding */
  send(request: RawRequest): Promise<Outcome>;
  close(): Promise<void>;
}

/** The real app with the embedded model and its engine, without a socket. */
export async function openInProcess(): Promise<InProcess> {
  const config = parseConfig([], {}, 'serve');
  const cacheDir = await mkdtemp(join(tmpdir(), 'vgg-serve-fuzz-'));
  const trouble: string[] = [];
  const notice = (line: string) => {
    const seen = troubleInLog(line);
    if (seen !== undefined) trouble.push(seen);
  };
  const registry = new ModelRegistry({
    startEngine: (spec, { signal }) =>
      startOnDevice(spec, { signal, onRestart: (reason) => trouble.push(`the engine was started again: ${reason}`) }),
    limits: config,
    threads: 1,
    cacheDir,
  });
  registry.add(await resolveModel('fashion-vgg'));
  await registry.load('fashion-vgg');
  const preprocessor = createPreprocessor({
    threads: 1,
    limits: { maxBytes: config.maxPictureBytes, maxPixels: config.maxPixels, maxAspect: config.maxAspect },
    exifOrientation: false,
  });
  const logger = pino({ base: null }, { write: notice });
  const access = await openAccess(config);
  const app = buildApp({ config, access, registry, preprocessor, metrics: createMetrics(), logger });
  return {
    async send({ method, target, headers, body }) {
      const options = {
        method: method as InjectOptions['method'] & string,
        url: target,
        headers: Object.fromEntries(headers),
        payload: body,
      };
      const response = await app.inject(options);
      const { statusCode: status, headers: answered, body: text } = response;
      const outcome = outcomeOf({
        status,
        contentType: String(answered['content-type'] ?? ''),
        body: text,
        bodiless: method === 'HEAD',
      });
      const [seen] = trouble.splice(0);
      if (seen !== undefined) throw new Finding(seen);
      return outcome;
    },
    async close() {
      await app.close();
      await registry.close();
      await preprocessor.close();
      await rm(cacheDir, { recursive: true });
    },
  };
}
