import { randomUUID } from 'node:crypto';
import { type IncomingMessage, METHODS } from 'node:http';
import type { Socket } from 'node:net';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import { corsOf } from './access/cors.js';
import type { ServiceError } from './errors.js';
import { adminRoutes } from './routes/admin.js';
import { classifyRoutes } from './routes/classify.js';
import { clientErrors } from './routes/client-error.js';
import { Connections } from './routes/connections.js';
import type { RouteDeps } from './routes/deps.js';
import { Drain } from './routes/drain.js';
import { guards } from './routes/guard.js';
import { healthRoutes } from './routes/health.js';
import { httpServer, refuseHead, targetOf } from './routes/http-server.js';
import { metricsRoutes } from './routes/metrics.js';
import { modelRoutes } from './routes/models.js';
import { asServiceError, sendProblem } from './routes/problem.js';
import { openRecord } from './routes/record.js';
import { RefusalLog } from './routes/refusal-log.js';
import { withRootRoute } from './routes/root.js';
import { addRoutes, answerUnrouted } from './routes/route.js';
import { addMultipart } from './routes/upload-multipart.js';

export interface AppDeps extends Omit<RouteDeps, 'drain'> {
  readonly logger?: FastifyBaseLogger | undefined;
  /** Tells the app to leave before it is closed. @default one of its own */
  readonly drain?: Drain;
}

/** Puts the HTTP service together. It does not listen, and it closes nothing that it was given. */
export function buildApp({ logger, drain = new Drain(), ...given }: AppDeps): FastifyInstance {
  const deps: RouteDeps = { ...given, drain };
  const { config, metrics, access } = deps;
  const cors = corsOf(config.corsOrigin);
  const connections = new Connections();
  const app: FastifyInstance = Fastify({
    serverFactory: httpServer(config, connections, metrics, access.tls),
    clientErrorHandler: (error, socket) => answerClientError(error, socket as Socket),
    rewriteUrl: targetOf,
    ...(logger && { loggerInstance: logger }),
    ...(access.tls && { https: {} }), // The server is made above; by this Fastify knows its scheme.
    ...(config.trustProxy && { trustProxy: [...config.trustProxy] }),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: requestId,
    // Requests that come while the app closes are answered by `drain`.
    return503OnClosing: false,
    // For what fails before a route is found, and so before the hooks.
    frameworkErrors(error, request, reply) {
      begin(request, reply);
      sendProblem(reply, asServiceError(error));
    },
  });

  const answerClientError = clientErrors(connections, metrics, app.log);
  for (const method of METHODS)
    if (!app.supportedMethods.includes(method) && method !== 'CONNECT') app.addHttpMethod(method);

  app.decorateRequest('record');
  const refusals = new RefusalLog(app.log);
  app.addHook('onClose', async () => refusals.flush());
  drain.attach(app, connections);
  /** At the arrival of each request. @returns what it is to be answered with instead */
  const begin = (request: FastifyRequest, reply: FastifyReply): ServiceError | undefined => {
    const { socket } = request.raw;
    // Of a client that leaves in its body. Whoever reads that body may just have stopped to listen.
    request.raw.on('error', ignored);
    openRecord(request, reply, metrics, refusals, () => {
      drain.exit(request);
      connections.end(request, socket);
    });
    reply.header('x-content-type-options', 'nosniff');
    cors?.addHeaders(request, reply);
    return connections.begin(request, reply, drain.enter(request) ?? refuseHead(request.raw));
  };
  // Hooks call `done`: a promise for each would cost every request a turn of the microtask queue.
  app.addHook('onRequest', (request, reply, done) => {
    done(begin(request, reply));
  });
  if (cors) app.addHook('onRequest', cors.answerPreflight);
  const guardsOf = guards(app, access, config.rateLimit);

  // Fastify parses no body: POST /classify reads its own, within its limits and its deadline.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _body, done) => done(null));
  addMultipart(app, config);

  app.setErrorHandler((error, _request, reply) => sendProblem(reply, asServiceError(error)));
  app.setNotFoundHandler({ preValidation: guardsOf() }, answerUnrouted);

  const routes = [
    ...classifyRoutes(deps),
    ...modelRoutes(deps),
    ...adminRoutes(deps),
    ...metricsRoutes(deps),
    ...healthRoutes(deps),
  ];
  addRoutes(app, withRootRoute(routes, deps), guardsOf);
  return app;
}

const ignored = () => {};

/** The client's own id, if it is one that may stand in a log; else a new one. */
function requestId({ headers }: IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && /^[\w.:=+/-]{1,128}$/.test(given) ? given : randomUUID();
}
