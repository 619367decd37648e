import { ServiceError } from '../errors.js';

const allowed = ['model', 'top_k'];

/**
 * @param query as Fastify parses it: a parameter that is given twice is a list
 * @throws ServiceError `unknown_query_parameter`, `bad_top_k` or `bad_request`
 */
export function readClassifyQuery(query: unknown, defaultTopK: number): { model: string | undefined; topK: number } {
  const parameters = query as Readonly<Record<string, string | string[]>>;
  const unknown = Object.keys(parameters).find((name) => !allowed.includes(name));
  if (unknown !== undefined) {
    const detail = `There is no query parameter "${unknown.slice(0, 100)}"; allowed are ${allowed.join(' and ')}.`;
    throw new ServiceError('unknown_query_parameter', detail);
  }
  const { model, top_k: topK = String(defaultTopK) } = parameters;
  if (Array.isArray(model))
    throw new ServiceError('bad_request', 'The query names more than one model; allowed is one.');
  if (Array.isArray(topK) || !/^0*[1-9]\d*$/.test(topK)) {
    const detail = `top_k is ${JSON.stringify(topK).slice(0, 100)}; allowed is one whole number from 1. More than there are classes means all.`;
    throw new ServiceError('bad_top_k', detail);
  }
  return { model, topK: Number(topK) };
}
