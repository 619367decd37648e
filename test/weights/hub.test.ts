import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { on, once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type FetchOptions, fetchWeights } from '../../src/weights/hub.js';
import { HubError, type HubReason, hubReasons } from '../../src/weights/hub-error.js';
import { folderError } from '../../src/weights/hub-folder.js';
import type { FetchProgress } from '../../src/weights/hub-progress.js';
import {
  type Behaviour,
  cutAfter,
  ignoreRange,
  lieAboutLength,
  serve,
  stallAfter,
  startHubServer,
  startProxy,
  status,
  weightsFile,
} from './hub-server.js';
import { temporaryFolder } from './temporary-files.js';

const file = weightsFile(3000);
const other = weightsFile(2000);
const root = temporaryFolder().path;
const provoked = new Set<HubReason>();

for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
  delete process.env[name];
  delete process.env[name.toLowerCase()];
}

function newFolder(): string {
  return mkdtempSync(join(root, 'hub-'));
}

/** Waits for nothing, and notes for how long it should have waited. */
function hubOptions(folder: string, more: Partial<FetchOptions> = {}) {
  const waits: number[] = [];
  const lines: string[] = [];
  return {
    folder,
    offline: false,
    log: (line: string) => void lines.push(line),
    sleep: async (ms: number) => void waits.push(ms),
    ...more,
    waits,
    lines,
  };
}

/** Fetches the file from a server that behaves like this. */
async function setUp(...behaviours: Behaviour[]) {
  const server = await startHubServer(...behaviours);
  const folder = newFolder();
  const path = join(folder, file.name);
  return { server, folder, path, partial: `${path}.partial`, url: `${server.origin}/models/${file.name}` };
}

async function rejects(promise: Promise<unknown>, reason: HubReason, ...parts: (string | RegExp)[]): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof HubError, String(error));
    assert.equal(error.reason, reason, error.message);
    assert.ok(error.message.endsWith(hubReasons[reason]));
    for (const part of parts) {
      if (typeof part === 'string') assert.ok(error.message.includes(part), error.message);
      else assert.match(error.message, part);
    }
    return true;
  });
  provoked.add(reason);
}

/** The file lies there whole, and nothing else is left. */
function isComplete(folder: string): void {
  assert.deepEqual(readdirSync(folder), [file.name]);
  assert.deepEqual(readFileSync(join(folder, file.name)), file.bytes);
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await wait(2);
}

function hasBytes(path: string, count: number): boolean {
  return existsSync(path) && statSync(path).size === count;
}

describe('fetchWeights of a file that is there', () => {
  it('opens no connection', async () => {
    const { server, folder, path, url } = await setUp(serve(file));
    writeFileSync(path, 'any');
    assert.equal(await fetchWeights(url, hubOptions(folder)), path);
    assert.equal(await fetchWeights(url, hubOptions(folder, { offline: true })), path);
    assert.equal(server.requests.length, 0);
  });

  it('fetches it when it is empty', async () => {
    const { folder, path, url } = await setUp(serve(file));
    writeFileSync(path, '');
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
  });
});

describe('fetchWeights of a file that is not there', () => {
  it('fetches it, tells how far it is and leaves nothing else', async () => {
    const { server, folder, path, url } = await setUp(serve(file));
    const seen: FetchProgress[] = [];
    const deep = join(folder, 'hub', 'checkpoints');
    const options = hubOptions(deep, { onProgress: (progress) => void seen.push(progress) });
    assert.equal(await fetchWeights(url, options), join(deep, file.name));
    isComplete(deep);
    assert.equal(existsSync(path), false);
    assert.deepEqual(seen[0], { file: file.name, receivedBytes: 0, totalBytes: 3000 });
    assert.deepEqual(seen.at(-1), { file: file.name, receivedBytes: 3000, totalBytes: 3000 });
    assert.equal(server.requests.length, 1);
    assert.equal(server.requests[0]?.headers.range, undefined);
  });

  it('takes a body of no announced length', async () => {
    const { folder, url } = await setUp((_, response) => {
      response.write(file.bytes.subarray(0, 1000));
      response.end(file.bytes.subarray(1000));
    });
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
  });

  it('follows a redirect, with its range', async () => {
    const elsewhere = await startHubServer(cutAfter(1000, file), serve(file));
    const { folder, url } = await setUp(status(302, { location: `${elsewhere.origin}/moved` }));
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
    assert.equal(elsewhere.requests[1]?.headers.range, 'bytes=1000-');
  });

  it('appends the name to the path of a mirror, and keeps what follows the path', async () => {
    const original = `https://example.invalid/models/${file.name}`;
    const paths = { '': '', '/': '', '/torch/models': '/torch/models', '/torch/?key=a': '/torch' };
    for (const [base, path] of Object.entries(paths)) {
      const { server, folder } = await setUp(serve(file));
      await fetchWeights(original, hubOptions(folder, { baseUrl: server.origin + base }));
      isComplete(folder);
      assert.equal(server.requests[0]?.url, `${path}/${file.name}${base.includes('?') ? '?key=a' : ''}`);
    }
  });

  it('sends the credentials of a mirror, and neither shows nor keeps them', async () => {
    const { server, folder, partial } = await setUp(cutAfter(1000, file), status(403));
    const baseUrl = server.origin.replace('//', '//ada:p%40ss@').concat('?key=secret');
    const fetched = fetchWeights(`http://example.invalid/${file.name}`, hubOptions(folder, { baseUrl }));
    await rejects(fetched, 'access_denied', /^(?!.*(p%40ss|p@ss|secret))/);
    assert.equal(server.requests[0]?.headers.authorization, `Basic ${btoa('ada:p@ss')}`);
    assert.doesNotMatch(readFileSync(`${partial}.json`, 'utf8'), /p%40ss|p@ss|secret/);
  });
});

describe('fetchWeights after a cut', () => {
  it('goes on from there', async () => {
    const { server, folder, url } = await setUp(cutAfter(1000, file), cutAfter(500, file), serve(file));
    const options = hubOptions(folder);
    await fetchWeights(url, options);
    isComplete(folder);
    assert.deepEqual(
      server.requests.map(({ headers }) => [headers.range, headers['if-range']]),
      [
        [undefined, undefined],
        ['bytes=1000-', '"one"'],
        ['bytes=1500-', '"one"'],
      ],
    );
    assert.ok(options.lines.includes(`${file.name}: going on from byte 1500`), options.lines.join('\n'));
  });

  it('goes by Last-Modified where the ETag is weak', async () => {
    const dated = { ...file, etag: 'W/"one"', lastModified: 'Mon, 06 Jan 2025 10:00:00 GMT' };
    const { server, folder, url } = await setUp(cutAfter(1000, dated), serve(dated));
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
    assert.equal(server.requests[1]?.headers['if-range'], dated.lastModified);
  });

  it('goes on without a validator: the hash vouches for the whole', async () => {
    const { server, folder, url } = await setUp(cutAfter(1000, { ...file, etag: null }), serve(file));
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
    assert.equal(server.requests[1]?.headers.range, 'bytes=1000-');
    assert.equal(server.requests[1]?.headers['if-range'], undefined);
  });

  it('starts from the beginning when the file has changed', async () => {
    const { folder, url } = await setUp(cutAfter(1000, { ...other, etag: '"zero"' }), serve(file));
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
  });

  it('starts from the beginning when the file has changed and the server does not look at If-Range', async () => {
    const changed: Behaviour = (request, response) => {
      delete request.headers['if-range'];
      serve(file)(request, response);
    };
    const { server, folder, url } = await setUp(cutAfter(1000, { ...other, etag: '"zero"' }), changed);
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
    assert.deepEqual(
      server.requests.map(({ headers }) => headers.range),
      [undefined, 'bytes=1000-', undefined],
    );
  });

  it('starts from the beginning when the server ignores Range', async () => {
    const { folder, url } = await setUp(cutAfter(1000, file), ignoreRange(file));
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
  });

  it('starts from the beginning when the server has less than what is there', async () => {
    const longer = { bytes: Buffer.alloc(9000), etag: '"one"' };
    const { server, folder, url } = await setUp(cutAfter(5000, longer), serve(file));
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
    assert.deepEqual(
      server.requests.map(({ headers }) => headers.range),
      [undefined, 'bytes=5000-', undefined],
    );
  });

  it('keeps what has come when a web page comes instead of the rest', async () => {
    const page = status(200, { 'content-type': 'text/html; charset=utf-8' }, '<p>Log in</p>');
    const { folder, url, partial } = await setUp(cutAfter(1000, file), page);
    await rejects(fetchWeights(url, hubOptions(folder)), 'html_page');
    assert.deepEqual(readFileSync(partial), file.bytes.subarray(0, 1000));
  });
});

describe('fetchWeights from a server that is not well', () => {
  it('tries again after 503, each time after a longer wait', async () => {
    const { folder, url } = await setUp(status(503), status(500), status(502), serve(file));
    const options = hubOptions(folder);
    await fetchWeights(url, options);
    isComplete(folder);
    const most = [500, 1000, 2000];
    assert.equal(options.waits.length, 3);
    for (const [at, ms] of options.waits.entries()) {
      const bound = most[at] as number;
      assert.ok(ms >= bound / 2 && ms <= bound, `${ms}`);
    }
  });

  it('waits as long as Retry-After asks for', async () => {
    const { folder, url } = await setUp(status(429, { 'retry-after': '7' }), serve(file));
    const options = hubOptions(folder);
    await fetchWeights(url, options);
    assert.deepEqual(options.waits, [7000]);
  });

  it('gives up when Retry-After asks for too long', async () => {
    const { folder, url } = await setUp(status(429, { 'retry-after': '3600' }));
    const options = hubOptions(folder);
    await rejects(fetchWeights(url, options), 'rate_limited', 'answered with 429', 'in 3600 s');
    assert.deepEqual(options.waits, []);
  });

  it('gives up after six attempts', async () => {
    const { server, folder, url } = await setUp(status(503));
    await rejects(fetchWeights(url, hubOptions(folder)), 'server_failed', 'answered with 503', '6 attempts');
    assert.equal(server.requests.length, 6);
  });

  it('gives up when it starts from the beginning each time and never gets further', async () => {
    const always: Behaviour = (request, response) => {
      delete request.headers.range;
      cutAfter(1000, file)(request, response);
    };
    const { server, folder, url, partial } = await setUp(always);
    const options = hubOptions(folder, { patience: { progressBytes: 10 } });
    await rejects(fetchWeights(url, options), 'interrupted', 'The connection was cut');
    assert.equal(server.requests.length, 6);
    assert.equal(statSync(partial).size, 1000);
  });

  it('does not count attempts that get on', async () => {
    const { server, folder, url } = await setUp(cutAfter(200, file));
    await fetchWeights(url, hubOptions(folder, { patience: { attempts: 2, progressBytes: 200 } }));
    isComplete(folder);
    assert.equal(server.requests.length, 15);
  });

  it('goes on when no byte comes any more', async () => {
    const { server, folder, url } = await setUp(stallAfter(1000, file), serve(file));
    const options = hubOptions(folder, { patience: { idleMs: 20 } });
    await fetchWeights(url, options);
    isComplete(folder);
    assert.equal(server.requests[1]?.headers.range, 'bytes=1000-');
    assert.match(options.lines[0] ?? '', /No byte came for 0.02 s. Attempt 2 of 6 in 0.\d s.$/);
  });

  it('goes on when there is no answer at all', async () => {
    const { folder, url } = await setUp(() => {}, serve(file));
    await fetchWeights(url, hubOptions(folder, { patience: { idleMs: 20 } }));
    isComplete(folder);
  });

  it('takes what is whole by its hash, though more was announced', async () => {
    const { folder, url } = await setUp(lieAboutLength(4000, file));
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
  });

  it('refuses what is not whole by its hash, though no more was announced', async () => {
    const { folder, url } = await setUp(lieAboutLength(2000, file));
    await rejects(fetchWeights(url, hubOptions(folder)), 'hash_mismatch', '2000 bytes');
  });
});

describe('fetchWeights refuses', () => {
  it('a wrong hash: says both, and deletes what has come', async () => {
    const { folder, url } = await setUp(serve(other));
    await rejects(fetchWeights(url, hubOptions(folder)), 'hash_mismatch', file.sha256.slice(0, 8), other.sha256);
    assert.deepEqual(readdirSync(folder), []);
  });

  it('an HTML page by its first bytes', async () => {
    const page = '\n<!DOCTYPE html><title>Log in</title>';
    const { folder, url } = await setUp(status(200, { 'content-type': 'application/octet-stream' }, page));
    await rejects(fetchWeights(url, hubOptions(folder)), 'html_page', url);
  });

  it('a file that is encoded on its way', async () => {
    const { folder, url } = await setUp(status(200, { 'content-encoding': 'gzip' }, 'x'));
    await rejects(fetchWeights(url, hubOptions(folder)), 'bad_answer', 'gzip');
  });

  it('a part that was not asked for', async () => {
    const { folder, url } = await setUp(status(206, { 'content-range': 'bytes 5-9/10' }, 'x'));
    await rejects(fetchWeights(url, hubOptions(folder)), 'bad_answer', 'bytes 5-9/10');
  });

  const statuses: [number, HubReason][] = [
    [404, 'not_found'],
    [410, 'not_found'],
    [401, 'access_denied'],
    [403, 'access_denied'],
    [400, 'refused'],
  ];
  for (const [code, reason] of statuses)
    it(`status ${code}, at once`, async () => {
      const { server, folder, url } = await setUp(status(code));
      await rejects(fetchWeights(url, hubOptions(folder)), reason, `${url} was answered with ${code}.`);
      assert.equal(server.requests.length, 1);
    });

  it('redirects without end', async () => {
    const { server, folder, url } = await setUp(({ url = '' }, response) => {
      response.writeHead(302, { location: `${url}x` }).end();
    });
    await rejects(fetchWeights(url, hubOptions(folder)), 'bad_redirect', '302');
    assert.equal(server.requests.length, 6);
  });

  for (const location of ['/again', 'ftp://example.invalid/a', 'http://'])
    it(`a redirect that leads nowhere: ${location}`, async () => {
      const { folder, url } = await setUp(status(302, { location }));
      await rejects(fetchWeights(url, hubOptions(folder)), 'bad_redirect', 'leads nowhere');
    });

  it('a name without a hash, and an address that is not of the web', async () => {
    const { server, folder } = await setUp(serve(file));
    await rejects(fetchWeights(`${server.origin}/vgg16.pth`, hubOptions(folder)), 'bad_url', 'vgg16.pth: ');
    await rejects(fetchWeights(`ftp://example.invalid/${file.name}`, hubOptions(folder)), 'bad_url');
    await rejects(
      fetchWeights(`${server.origin}/${file.name}`, hubOptions(folder, { baseUrl: 'mirror' })),
      'bad_url',
      'mirror: ',
    );
    assert.equal(server.requests.length, 0);
  });

  it('to open a connection when it is offline, and says which file to put where', async () => {
    const { server, folder, url } = await setUp(serve(file));
    const options = hubOptions(join(folder, 'absent'), { offline: true, expectedBytes: 553_433_881 });
    await rejects(
      fetchWeights(url, options),
      'offline',
      `${file.name}: It is not in ${join(folder, 'absent')}, and --offline forbids to fetch it (553.4 MB) from ${url}.`,
    );
    assert.equal(server.requests.length, 0);
    assert.equal(existsSync(join(folder, 'absent')), false);
  });
});

describe('fetchWeights without a way to the server', () => {
  it('tries again when nothing listens there', async () => {
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as { port: number };
    closed.close();
    await once(closed, 'close');
    const options = hubOptions(newFolder());
    await rejects(
      fetchWeights(`http://127.0.0.1:${port}/${file.name}`, options),
      'unreachable',
      `127.0.0.1:${port} gave no answer`,
      'ECONNREFUSED',
    );
    assert.equal(options.waits.length, 5);
  });

  it('does not try again when the connection is not safe', async () => {
    const { folder, url } = await setUp(serve(file));
    const options = hubOptions(folder);
    await rejects(fetchWeights(url.replace('http:', 'https:'), options), 'tls_failed');
    assert.deepEqual(options.waits, []);
  });
});

describe('fetchWeights by a proxy', () => {
  function setEnv(t: TestContext, env: Record<string, string>): void {
    Object.assign(process.env, env);
    t.after(() => {
      for (const name of Object.keys(env)) delete process.env[name];
    });
  }

  it('goes by HTTP_PROXY', async (t) => {
    const proxy = await startProxy();
    const { folder, url } = await setUp(serve(file));
    setEnv(t, { HTTP_PROXY: proxy.origin });
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
    assert.deepEqual(proxy.asked, [url]);
  });

  it('goes past it where NO_PROXY says so', async (t) => {
    const proxy = await startProxy();
    const { folder, url } = await setUp(serve(file));
    setEnv(t, { HTTP_PROXY: proxy.origin, NO_PROXY: 'example.invalid,127.0.0.1' });
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
    assert.deepEqual(proxy.asked, []);
  });

  it('goes by HTTPS_PROXY, and says when that refuses', async (t) => {
    const proxy = await startProxy(407);
    setEnv(t, { HTTPS_PROXY: proxy.origin });
    const options = hubOptions(newFolder());
    await rejects(fetchWeights(`https://example.invalid/${file.name}`, options), 'proxy_failed', '407');
    assert.deepEqual(proxy.asked, ['example.invalid:443']);
    assert.deepEqual(options.waits, []);
  });

  it('opens a tunnel for https', async (t) => {
    const proxy = await startProxy();
    const { server, folder, url } = await setUp(serve(file));
    setEnv(t, { HTTPS_PROXY: proxy.origin });
    // What is at the other end of the tunnel does not speak TLS.
    await rejects(fetchWeights(url.replace('http:', 'https:'), hubOptions(folder)), 'tls_failed');
    assert.deepEqual(proxy.asked, [new URL(server.origin).host]);
  });

  it('says when HTTP_PROXY asks for a password', async (t) => {
    const proxy = await startProxy(407);
    setEnv(t, { HTTP_PROXY: proxy.origin });
    const { folder, url } = await setUp(serve(file));
    await rejects(fetchWeights(url, hubOptions(folder)), 'proxy_failed', '407');
  });

  it('tries again when the proxy does not get through', async (t) => {
    const proxy = await startProxy(502);
    setEnv(t, { HTTPS_PROXY: proxy.origin });
    const options = hubOptions(newFolder());
    await rejects(fetchWeights(`https://example.invalid/${file.name}`, options), 'proxy_failed', 'answered 502');
    assert.equal(proxy.asked.length, 6);
  });

  it('refuses a proxy that is no URL', async (t) => {
    setEnv(t, { HTTP_PROXY: 'proxy:port' });
    const { folder, url } = await setUp(serve(file));
    await rejects(fetchWeights(url, hubOptions(folder)), 'proxy_failed');
  });
});

describe('fetchWeights into a folder', () => {
  it('of too little room: says so before the first byte', async () => {
    const { folder, url, partial } = await setUp((_, response) => {
      response.writeHead(200, { 'content-length': 2 ** 52 }).write('x');
    });
    await rejects(fetchWeights(url, hubOptions(folder)), 'no_space', '4503599627.4 MB', `${folder} has`);
    assert.equal(statSync(partial).size, 0);
  });

  it('that is full', { skip: !existsSync('/dev/full') && 'there is no /dev/full' }, async () => {
    const { folder, url, partial } = await setUp(serve(file));
    symlinkSync('/dev/full', `${partial}.json`);
    await rejects(fetchWeights(url, hubOptions(folder)), 'no_space', folder, 'ENOSPC');
  });

  it('whose name is that of a file', async () => {
    const { folder, url } = await setUp(serve(file));
    writeFileSync(join(folder, 'taken'), '');
    await rejects(fetchWeights(url, hubOptions(join(folder, 'taken'))), 'folder_unusable', 'ENOTDIR');
  });

  it('in which the name of the weights is taken by a folder', async () => {
    const { folder, path, url } = await setUp(serve(file));
    mkdirSync(path);
    await rejects(fetchWeights(url, hubOptions(folder)), 'folder_unusable', file.name);
  });

  // Root may write everywhere, so that these are not provoked by a folder.
  const codes: [string, HubReason][] = [
    ['EACCES', 'no_permission'],
    ['EPERM', 'no_permission'],
    ['EROFS', 'read_only'],
    ['EDQUOT', 'no_space'],
    ['EIO', 'folder_unusable'],
  ];
  for (const [code, reason] of codes)
    it(`that answers with ${code}`, async () => {
      const error = Object.assign(new Error(`${code}: open`), { code });
      await rejects(Promise.reject(folderError(error, '/cache', file.name)), reason, `/cache cannot hold it: ${code}`);
    });
});

describe('fetchWeights again', () => {
  it('goes on from what an abort has left', async () => {
    const { server, folder, url, partial } = await setUp(stallAfter(1000, file), serve(file));
    const controller = new AbortController();
    const reason = new Error('stop');
    const fetched = fetchWeights(url, hubOptions(folder, { signal: controller.signal }));
    await until(() => hasBytes(partial, 1000));
    controller.abort(reason);
    await assert.rejects(fetched, reason);
    assert.deepEqual(readdirSync(folder).sort(), [`${file.name}.partial`, `${file.name}.partial.json`]);

    const seen: FetchProgress[] = [];
    await fetchWeights(url, hubOptions(folder, { onProgress: (progress) => void seen.push(progress) }));
    isComplete(folder);
    assert.equal(server.requests[1]?.headers.range, 'bytes=1000-');
    assert.equal(seen[0]?.receivedBytes, 1000);
  });

  it('ends a wait between attempts when it is aborted', async () => {
    const { folder, url } = await setUp(status(503, { 'retry-after': '100' }));
    const controller = new AbortController();
    const { sleep: _, ...options } = hubOptions(folder, { signal: controller.signal, log: () => controller.abort() });
    await assert.rejects(fetchWeights(url, options), { name: 'AbortError' });
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.endsWith('.lock')),
      [],
    );
  });

  it('needs no connection when an earlier process ended before it could rename', async () => {
    const { server, folder, url, partial } = await setUp(serve(file));
    writeFileSync(partial, file.bytes);
    writeFileSync(`${partial}.json`, JSON.stringify({ url, validator: '"one"', totalBytes: 3000 }));
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
    assert.equal(server.requests.length, 0);
  });

  it('deletes what is left when it was damaged, so that the next call succeeds', async () => {
    const { folder, url, partial } = await setUp(serve(file));
    writeFileSync(partial, Buffer.alloc(1000));
    writeFileSync(`${partial}.json`, JSON.stringify({ url, validator: '"one"', totalBytes: 3000 }));
    await rejects(fetchWeights(url, hubOptions(folder)), 'hash_mismatch');
    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
  });

  const leftOvers: Record<string, (url: string) => string> = {
    'of another address': () =>
      JSON.stringify({ url: 'http://example.invalid/a', validator: '"one"', totalBytes: 3000 }),
    'whose sidecar was cut': (url) => JSON.stringify({ url }).slice(0, -2),
    'with more bytes than the whole': (url) => JSON.stringify({ url, totalBytes: 999 }),
  };
  for (const [what, sidecar] of Object.entries(leftOvers))
    it(`starts from the beginning over a partial file ${what}`, async () => {
      const { server, folder, url, partial } = await setUp(serve(file));
      writeFileSync(partial, Buffer.alloc(1000));
      writeFileSync(`${partial}.json`, sidecar(url));
      await fetchWeights(url, hubOptions(folder));
      isComplete(folder);
      assert.equal(server.requests[0]?.headers.range, undefined);
    });
});

describe('fetchWeights in several processes', () => {
  const program = fileURLToPath(new URL('./hub-child.js', import.meta.url));

  function start(t: TestContext, url: string, folder: string): ChildProcess {
    const child = fork(program, [url, folder]);
    t.after(() => child.kill('SIGKILL'));
    return child;
  }

  async function message(child: ChildProcess, pattern: RegExp): Promise<void> {
    for await (const [line] of on(child, 'message')) if (pattern.test(line as string)) return;
  }

  it('fetches once', async (t) => {
    let answer = () => {};
    const asked = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const { server, folder, url } = await setUp((request, response) => {
      asked.then(() => serve(file)(request, response), assert.ifError);
    });
    const first = start(t, url, folder);
    await until(() => server.requests.length === 1);
    const second = start(t, url, folder);
    await message(second, /another process fetches it; waiting$/);
    const ends = [once(first, 'exit'), once(second, 'exit')];
    answer();
    assert.deepEqual(await Promise.all(ends), [
      [0, null],
      [0, null],
    ]);
    isComplete(folder);
    assert.equal(server.requests.length, 1);
  });

  it('goes on where a process was killed, and is not stopped by its lock', async (t) => {
    const { server, folder, url, partial } = await setUp(stallAfter(1000, file), serve(file));
    const child = start(t, url, folder);
    await until(() => hasBytes(partial, 1000));
    const end = once(child, 'exit');
    child.kill('SIGKILL');
    await end;
    assert.ok(existsSync(join(folder, `${file.name}.lock`)));

    await fetchWeights(url, hubOptions(folder));
    isComplete(folder);
    assert.deepEqual(
      server.requests.map(({ headers }) => [headers.range, headers['if-range']]),
      [
        [undefined, undefined],
        ['bytes=1000-', '"one"'],
      ],
    );
  });

  it('leaves the file to a process that has taken its lock for abandoned', async (t) => {
    const { server, folder, url, path, partial } = await setUp(stallAfter(1000, file), serve(file));
    t.mock.timers.enable({ apis: ['setInterval'] });
    const options = hubOptions(folder, { sleep: async () => rmSync(`${path}.lock`) });
    const fetched = fetchWeights(url, options);
    await until(() => hasBytes(partial, 1000));
    writeFileSync(`${path}.lock`, 'another');
    t.mock.timers.tick(2000);
    await fetched;
    isComplete(folder);
    assert.deepEqual(options.lines.slice(0, 2), [
      `${file.name}: another process has taken over`,
      `${file.name}: another process fetches it; waiting`,
    ]);
    assert.equal(server.requests[1]?.headers.range, 'bytes=1000-');
  });

  it('takes over from a process that is killed while others wait', async (t) => {
    const { server, folder, url, partial } = await setUp(stallAfter(1000, file), serve(file));
    const child = start(t, url, folder);
    await until(() => hasBytes(partial, 1000));
    const seen: FetchProgress[] = [];
    const options = hubOptions(folder, { onProgress: (progress) => void seen.push(progress), sleep: () => wait(5) });
    const fetched = fetchWeights(url, options);
    await until(() => options.lines.length > 0);
    child.kill('SIGKILL');
    await fetched;
    isComplete(folder);
    assert.deepEqual(seen[0], { file: file.name, receivedBytes: 1000, totalBytes: 3000 });
    assert.equal(server.requests[1]?.headers.range, 'bytes=1000-');
  });
});

it('every reason is provoked by a test above', () => {
  assert.deepEqual([...provoked].sort(), Object.keys(hubReasons).sort());
});
