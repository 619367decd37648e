import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import autocannon from 'autocannon';

export interface LoadOptions {
  readonly url: string;
  readonly contentType: string;
  readonly body: Buffer;
  readonly connections: number;
  readonly seconds: number;
}

/** What the clients saw. Latencies are milliseconds. */
export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  /** Connections that failed, answers that did not come. */
  readonly errors: number;
  readonly non2xx: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** Keeps `connections` requests under way (a closed loop, keep-alive), all of them the same. */
export type Load = (options: LoadOptions) => Promise<LoadResult>;

/**
 * wrk where it is on the PATH: it takes about a twentieth of a CPU, where autocannon takes a third of one from the
 * service beside it.
 */
export function findLoader(): { readonly name: string; readonly load: Load } {
  const { error, stdout } = spawnSync('wrk', ['-v'], { encoding: 'utf8' });
  if (error) return { name: 'autocannon', load: byAutocannon };
  return { name: /^wrk \S+/.exec(stdout)?.[0] ?? 'wrk', load: byWrk };
}

async function byAutocannon({ url, contentType, body, connections, seconds }: LoadOptions): Promise<LoadResult> {
  const headers = { 'content-type': contentType };
  const result = await autocannon({ url, method: 'POST', headers, body, connections, duration: seconds });
  return {
    requests: result.requests.total,
    perSecond: result.requests.total / result.duration,
    errors: result.errors + result.timeouts,
    non2xx: result.non2xx,
    p50: result.latency.p50,
    p90: result.latency.p90,
    p99: result.latency.p99,
  };
}

async function byWrk({ url, contentType, body, connections, seconds }: LoadOptions): Promise<LoadResult> {
  const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-load-'));
  try {
    const [script, picture] = [join(folder, 'post.lua'), join(folder, 'body')];
    await writeFile(picture, body);
    await writeFile(script, luaScript(picture, contentType));
    const flags = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, '--timeout', '60s', '-s', script, url];
    const { stdout } = await promisify(execFile)('wrk', flags);
    const line = /^result: (.*)$/m.exec(stdout)?.[1];
    if (line === undefined) throw new Error(`wrk printed no result: ${stdout}`);
    return JSON.parse(line) as LoadResult;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** wrk counts microseconds. */
function luaScript(picture: string, contentType: string): string {
  return `
wrk.method = "POST"
wrk.body = assert(io.open(${JSON.stringify(picture)}, "rb")):read("*a")
wrk.headers["Content-Type"] = ${JSON.stringify(contentType)}

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'result: {"requests":%d,"perSecond":%f,"errors":%d,"non2xx":%d,"p50":%f,"p90":%f,"p99":%f}\\n',
    summary.requests, summary.requests / summary.duration * 1e6,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status,
    latency:percentile(50) / 1000, latency:percentile(90) / 1000, latency:percentile(99) / 1000))
end
`;
}
