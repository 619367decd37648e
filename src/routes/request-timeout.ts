import type { IncomingHttpHeaders } from 'node:http';
import { ServiceError } from '../errors.js';

/**
 * How long a request may take, in milliseconds: what its header X-Request-Timeout-Ms says, but at most `most`.
 * @throws ServiceError `bad_request`
 */
export function requestTimeoutMs(headers: IncomingHttpHeaders, most: number): number {
  const given = headers['x-request-timeout-ms'];
  if (given === undefined) return most;
  // Node joins a header that is given twice with a comma.
  if (typeof given !== 'string' || !/^0*[1-9]\d*$/.test(given)) {
    const seen = JSON.stringify(given).slice(0, 100);
    throw new ServiceError(
      'bad_request',
      `The header X-Request-Timeout-Ms is ${seen}; allowed is one whole number of milliseconds from 1. More than ${most} means ${most}.`,
    );
  }
  return Math.min(Number(given), most);
}
