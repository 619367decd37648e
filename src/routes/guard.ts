import rateLimit, { normalizeIP } from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';
import type { Access } from '../access/access.js';
import { keyOf, type Need, refusalOf } from '../access/authorize.js';
import { clientAddress } from '../access/client-address.js';
import { ServiceError } from '../errors.js';
import type { RateValue } from '../option-kinds.js';
import { notFound } from './not-found.js';

/** What must be passed before the body of a request is read, in this order: whose key it is, the rate, the right. */
export type GuardsOf = (access?: RouteAccess) => onRequestHookHandler[];

/** `free` asks for no key and counts against no rate. */
export type RouteAccess = 'free' | Need;

/** Buckets that are kept; beyond them those that were used least recently are forgotten. About 3 MB. */
const mostBuckets = 10_000;

/** Where there are neither keys nor a rate, there are no hooks. */
export function guards(
  app: FastifyInstance,
  { keyring }: Access,
  rate: RateValue | undefined,
  buckets = mostBuckets,
): GuardsOf {
  const limit = rate && rateHook(app, rate, buckets);
  return (access = keyring.guardsAll ? 'key' : 'open') => {
    if (access === 'free') return [];
    const need = access === 'open' ? undefined : access;
    return [...(need ? [identify] : []), ...(limit ? [limit] : []), ...(need ? [authorize(need)] : [])];
  };

  function identify(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
    const key = keyOf(request.headers);
    if (key !== undefined) request.record.credential = { holder: keyring.find(key) };
    done();
  }

  function authorize(need: Exclude<Need, 'open'>): onRequestHookHandler {
    return (request, reply, done) => {
      const { credential } = request.record;
      // Where pictures need no key, there is nothing to hide from those who have none.
      if (need === 'admin' && !keyring.hasAdmin && (credential?.holder || !keyring.guardsAll)) {
        return done(notFound(request));
      }
      const refusal = refusalOf(need, credential);
      if (refusal === undefined) return done();
      request.record.client = addressOf(request);
      reply.header('www-authenticate', refusal.challenge);
      done(refusal.error);
    };
  }
}

/** A fixed window, counted for each key that is in the file, else for each address. */
function rateHook(app: FastifyInstance, { max, windowMs, text }: RateValue, buckets: number): onRequestHookHandler {
  let hook: onRequestHookHandler | undefined;
  app.register(rateLimit, {
    global: false,
    max,
    timeWindow: windowMs,
    cache: buckets,
    enableDraftSpec: true,
    keyGenerator(request) {
      const { credential } = request.record;
      if (credential?.holder !== undefined) return `key ${credential.holder.name}`;
      // One household or machine has a /64 of IPv6 to itself.
      return `address ${normalizeIP(addressOf(request), 64)}`;
    },
    onExceeded(request) {
      request.record.client = addressOf(request);
    },
    errorResponseBuilder(request, { ttl }) {
      const who = request.record.credential?.holder === undefined ? 'your address' : 'your key';
      const seconds = Math.ceil(ttl / 1000);
      const detail = `More than ${text} came from ${who}: wait ${seconds} s, as Retry-After says.`;
      return new ServiceError('rate_limited', detail, { retryAfterSeconds: seconds });
    },
  });
  app.after(() => {
    hook = app.rateLimit();
  });
  return function (request, reply, done) {
    return hook?.call(this, request, reply, done);
  };
}

function addressOf({ ip, socket }: FastifyRequest): string {
  return clientAddress(ip, socket.remoteAddress);
}
