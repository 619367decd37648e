import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import { pathOf } from './record.js';

export function notFound(request: FastifyRequest): ServiceError {
  return new ServiceError('not_found', `There is no ${request.method} ${pathOf(request)}. GET / lists what there is.`);
}
