import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isUrl, UrlReader } from '../../src/cli/url-reader.js';
import { type Behaviour, startHubServer, status } from '../weights/hub-server.js';

const picture = Buffer.alloc(1000, 7);
const whole: Behaviour = (_, response) => response.end(picture);

async function readerOf(
  t: { after(done: () => Promise<void>): void },
  behaviours: readonly Behaviour[],
  limits: { maxBytes?: number; timeoutMs?: number } = {},
) {
  const server = await startHubServer(...behaviours);
  const reader = new UrlReader({ maxBytes: 1000, timeoutMs: 30_000, ...limits });
  t.after(() => reader.close());
  return { ...server, reader };
}

test('UrlReader.read: the bytes, after up to five redirects', async (t) => {
  const redirects = Array.from({ length: 5 }, (_, at) => status(302, { location: `/${at}.png` }));
  const { reader, origin, requests } = await readerOf(t, [...redirects, whole]);
  assert.deepEqual(await reader.read(`${origin}/first.png`), picture);
  assert.deepEqual(
    requests.map(({ url }) => url),
    ['/first.png', '/0.png', '/1.png', '/2.png', '/3.png', '/4.png'],
  );
  assert.equal(requests[0]?.headers['user-agent'], 'vgg-serve');
});

test('UrlReader.read: redirects in a circle, or away from http, are refused', async (t) => {
  const circle = await readerOf(t, [status(302, { location: '/again' })]);
  const unreadable = { name: 'UnreadableUrlError', message: 'more than 5 redirects' };
  await assert.rejects(circle.reader.read(`${circle.origin}/`), unreadable);
  assert.equal(circle.requests.length, 6);
  const away = await readerOf(t, [status(302, { location: 'file:///etc/passwd' })]);
  await assert.rejects(away.reader.read(`${away.origin}/`), { name: 'UnreadableUrlError' });
});

test('UrlReader.read: a body of more bytes than allowed, announced or not, is not read to its end', async (t) => {
  const endless: Behaviour = (_, response) => {
    const more = () => void response.write(picture, (error) => error ?? setImmediate(more));
    more();
  };
  const announced: Behaviour = (_, response) => response.writeHead(200, { 'content-length': 1001 }).flushHeaders();
  const { reader, origin } = await readerOf(t, [announced, endless]);
  const tooLarge = { code: 'image_too_many_bytes', message: 'The picture has more than the 1000 bytes allowed.' };
  await assert.rejects(reader.read(`${origin}/announced`), tooLarge);
  await assert.rejects(reader.read(`${origin}/endless`), tooLarge);
});

test('UrlReader.read: a server that answers with an error, late or not at all', async (t) => {
  const silent: Behaviour = () => {};
  const cut: Behaviour = (_, response) =>
    response.writeHead(200, { 'content-length': 9 }).write('x', () => response.destroy());
  const { reader, origin } = await readerOf(t, [status(404), cut, silent], { timeoutMs: 300 });
  const unreadable = (message: string | RegExp) => ({ name: 'UnreadableUrlError', message });
  await assert.rejects(reader.read(`${origin}/404`), unreadable('the server answers 404'));
  await assert.rejects(reader.read(`${origin}/cut`), unreadable(/./));
  await assert.rejects(reader.read(`${origin}/silent`), unreadable('not there within 300 ms (--timeout-ms)'));
  await assert.rejects(reader.read('http://127.0.0.1:1/a.png'), unreadable(/ECONNREFUSED/));
});

test('UrlReader.read: other schemes than http and https open no connection', async (t) => {
  const { reader } = await readerOf(t, [whole]);
  await assert.rejects(reader.read('ftp://example.com/a.png'), /^UnreadableUrlError: .*http and https, not over ftp$/);
  await assert.rejects(reader.read('http://'), { name: 'UnreadableUrlError', message: 'not a URL' });
});

test('isUrl: a scheme and two slashes, in any case', () => {
  for (const source of ['http://a', 'HTTPS://a/b.png', 'file:///a', 's3+x://a'])
    assert.equal(isUrl(source), true, source);
  for (const source of ['a.png', 'http:/a', '//host/a.png', './http://a', 'C:\\a.png', '-'])
    assert.equal(isUrl(source), false, source);
});
