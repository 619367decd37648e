import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import multipart from '@fastify/multipart';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import { corsOf } from './access/cors.js';
import { serverOptions } from './access/tls.js';
import { adminRoutes } from './routes/admin.js';
import { classifyRoutes } from './routes/classify.js';
import { answerClientError } from './routes/client-error.js';
import type { RouteDeps } from './routes/deps.js';
import { drainOnClose } from './routes/drain.js';
import { guards } from './routes/guard.js';
import { healthRoutes } from './routes/health.js';
import { metricsRoutes } from './routes/metrics.js';
import { modelRoutes } from './routes/models.js';
import { notFound } from './routes/not-found.js';
import { asServiceError, sendProblem } from './routes/problem.js';
import { openRecord } from './routes/record.js';
import { withRootRoute } from './routes/root.js';
import { addRoutes } from './routes/route.js';
import { multipartOptions } from './routes/upload-multipart.js';

export interface AppDeps extends RouteDeps {
  readonly logger?: FastifyBaseLogger | undefined;
}

/** Puts the HTTP service together. It does not listen, and it closes nothing that it was given. */
export function buildApp({ logger, ...deps }: AppDeps): FastifyInstance {
  const { config, metrics, access } = deps;
  const cors = corsOf(config.corsOrigin);
  const app = Fastify({
    ...(logger && { loggerInstance: logger }),
    ...(access.tls && { https: serverOptions(access.tls) }),
    ...(config.trustProxy && { trustProxy: [...config.trustProxy] }),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: requestId,
    // A body that still comes in after its request was answered with deadline_exceeded is cut off.
    requestTimeout: config.timeoutMs + 5_000,
    // Requests that come while the app closes are answered by drainOnClose.
    return503OnClosing: false,
    clientErrorHandler: answerClientError,
    // For what fails before a route is found, and so before the hooks.
    frameworkErrors(error, request, reply) {
      openRecord(request, reply, metrics);
      addHeaders(request, reply);
      sendProblem(reply, asServiceError(error));
    },
  });

  app.decorateRequest('record');
  const drain = drainOnClose(app);
  // Hooks call `done`: a promise for each would cost every request a turn of the microtask queue.
  app.addHook('onRequest', (request, reply, done) => {
    openRecord(request, reply, metrics, drain.leave);
    addHeaders(request, reply);
    done(drain.enter());
  });
  if (cors) app.addHook('onRequest', cors.answerPreflight);
  const guardsOf = guards(app, access, config.rateLimit);

  // Fastify parses no body: POST /classify reads its own, within its limits and its deadline.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _body, done) => done(null));
  app.register(multipart, multipartOptions(config));

  app.setErrorHandler((error, _request, reply) => sendProblem(reply, asServiceError(error)));
  app.setNotFoundHandler({ preValidation: guardsOf() }, (request) => {
    throw notFound(request);
  });

  const routes = [
    ...classifyRoutes(deps),
    ...modelRoutes(deps),
    ...adminRoutes(deps),
    ...metricsRoutes(deps),
    ...healthRoutes(deps),
  ];
  addRoutes(app, withRootRoute(routes, deps), guardsOf);
  return app;

  function addHeaders(request: FastifyRequest, reply: FastifyReply): void {
    reply.header('x-content-type-options', 'nosniff');
    cors?.addHeaders(request, reply);
  }
}

/** The client's own id, if it is one that may stand in a log; else a new one. */
function requestId({ headers }: IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && /^[\w.:=+/-]{1,128}$/.test(given) ? given : randomUUID();
}
