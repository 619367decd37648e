import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import multipart from '@fastify/multipart';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import { ServiceError } from './errors.js';
import { adminRoutes } from './routes/admin.js';
import { classifyRoutes } from './routes/classify.js';
import { answerClientError } from './routes/client-error.js';
import type { RouteDeps } from './routes/deps.js';
import { drainOnClose } from './routes/drain.js';
import { healthRoutes } from './routes/health.js';
import { metricsRoutes } from './routes/metrics.js';
import { modelRoutes } from './routes/models.js';
import { asServiceError, sendProblem } from './routes/problem.js';
import { openRecord, pathOf } from './routes/record.js';
import { RefusalLog } from './routes/refusal-log.js';
import { withRootRoute } from './routes/root.js';
import { addRoutes } from './routes/route.js';
import { multipartOptions } from './routes/upload-multipart.js';

export interface AppDeps extends RouteDeps {
  readonly logger?: FastifyBaseLogger | undefined;
}

/** Puts the HTTP service together. It does not listen, and it closes nothing that it was given. */
export function buildApp({ logger, ...deps }: AppDeps): FastifyInstance {
  const { config, metrics } = deps;
  const app = Fastify({
    ...(logger && { loggerInstance: logger }),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: requestId,
    // A body that still comes in after its request was answered with deadline_exceeded is cut off.
    requestTimeout: config.timeoutMs + 5_000,
    // Requests that come while the app closes are answered by drainOnClose.
    return503OnClosing: false,
    clientErrorHandler: answerClientError,
    // For what fails before a route is found, and so before the hooks.
    frameworkErrors(error, request, reply) {
      openRecord(request, reply, metrics, refusals);
      sendProblem(reply, asServiceError(error));
    },
  });

  app.decorateRequest('record');
  const refusals = new RefusalLog(app.log);
  app.addHook('onClose', async () => refusals.flush());
  const drain = drainOnClose(app);
  // Hooks call `done`: a promise for each would cost every request a turn of the microtask queue.
  app.addHook('onRequest', (request, reply, done) => {
    openRecord(request, reply, metrics, refusals, drain.leave);
    done(drain.enter());
  });

  // Fastify parses no body: POST /classify reads its own, within its limits and its deadline.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _body, done) => done(null));
  app.register(multipart, multipartOptions(config));

  app.setErrorHandler((error, _request, reply) => sendProblem(reply, asServiceError(error)));
  app.setNotFoundHandler((request) => {
    throw new ServiceError('not_found', `There is no ${request.method} ${pathOf(request)}. GET / lists what there is.`);
  });

  const routes = [
    ...classifyRoutes(deps),
    ...modelRoutes(deps),
    ...adminRoutes(deps),
    ...metricsRoutes(deps),
    ...healthRoutes(deps),
  ];
  addRoutes(app, withRootRoute(routes, deps));
  return app;
}

/** The client's own id, if it is one that may stand in a log; else a new one. */
function requestId({ headers }: IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && /^[\w.:=+/-]{1,128}$/.test(given) ? given : randomUUID();
}
