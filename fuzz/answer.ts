import { errorTable } from '../src/errors.js';
import { Finding, type Outcome, shapeOf } from './finding.js';

export interface Answer {
  readonly status: number;
  readonly contentType: string | undefined;
  readonly body: string;
  /** To HEAD, or with a status that has no body. */
  readonly bodiless: boolean;
}

const table: Readonly<Record<string, { readonly status: number }>> = errorTable;

/** @throws Finding where an answer is none that this service may give */
export function outcomeOf({ status, contentType = '', body, bodiless }: Answer): Outcome {
  const isAllowed =
    (status >= 200 && status < 300) || (status >= 400 && status < 500) || status === 503 || status === 504;
  if (!isAllowed) throw new Finding(`status ${status}: ${shapeOf(detailOf(body))}`);
  const plain = { name: String(status), shape: String(status) };
  if (status < 300 && (bodiless || status === 204)) return plain;
  if (status < 300) return { name: String(status), shape: success(body, contentType) };
  if (!contentType.startsWith('application/problem+json')) {
    throw new Finding(`status ${status} with the content type ${shapeOf(contentType)}`);
  }
  if (bodiless) return plain;
  const { code, status: told, detail, title, type } = problemOf(body);
  if (typeof code !== 'string' || !Object.hasOwn(table, code) || table[code]?.status !== status || told !== status) {
    throw new Finding(`status ${status} with the code ${shapeOf(String(code))} and the status ${told} in its body`);
  }
  if (![detail, title, type].every((text) => typeof text === 'string' && text !== '')) {
    throw new Finding(`status ${status} ${code} without detail, title or type`);
  }
  return { name: `${status} ${code}`, shape: `${code} ${shapeOf(String(detail))}` };
}

function problemOf(body: string): Record<string, unknown> {
  const value = parsed(body);
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new Finding(`an error whose body is not a JSON object: ${shapeOf(body)}`);
}

function detailOf(body: string): string {
  const value = parsed(body) as { code?: unknown; detail?: unknown } | undefined;
  return value?.code === undefined ? body : `${value.code} ${value.detail}`;
}

/** Of several pictures each is answered for itself. */
function success(body: string, contentType: string): string {
  if (!contentType.startsWith('application/json')) return contentType;
  const value = parsed(body) as { results?: unknown } | undefined;
  if (value === undefined) throw new Finding(`an answer that is not JSON: ${shapeOf(body)}`);
  if (!Array.isArray(value.results)) return Object.keys(value).join();
  return [...new Set(value.results.map(resultShape))].sort().join();
}

function resultShape(result: {
  predictions?: { probability?: unknown }[];
  error?: { code?: string; status?: number };
}): string {
  const { predictions, error } = result;
  if (error) {
    if (error.status === 500 || !Object.hasOwn(table, error.code ?? ''))
      throw new Finding(`a result with the error ${error.code}`);
    return error.code ?? '';
  }
  const sound = predictions?.every(({ probability: p }) => typeof p === 'number' && p >= 0 && p <= 1);
  if (!sound) throw new Finding('a result without probabilities from 0 to 1');
  return 'predictions';
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** The fields of a line of the log that are read here. */
interface LogLine {
  readonly level?: unknown;
  readonly msg?: unknown;
  readonly err?: { readonly type?: string; readonly message?: string; readonly stack?: string };
}

const errorLevel = 50;
const longestLine = 100_000;

/** @returns what is wrong with a line of the log: it is none, or it tells of a fault of this program */
export function troubleInLog(line: string): string | undefined {
  const value = parsed(line) as LogLine | undefined;
  if (typeof value !== 'object' || value === null || typeof value.level !== 'number')
    return `a log line that is none: ${shapeOf(line)}`;
  if (line.length > longestLine) return `a log line of more than ${longestLine} characters`;
  if (value.level < errorLevel) return undefined;
  return `logged as an error: ${value.msg} ${shapeOf(value.err?.message ?? '')}`;
}
