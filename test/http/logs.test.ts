import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { inertLine } from '../../src/logging.js';
import { png, startService, until } from '../routes/service.js';
import { connectRaw } from './raw.js';

const red = await png('#e00000');
const secret = 'c2VjcmV0LXRva2Vu';
const obeyed = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

/** A text of what breaks logs, and of anything else. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '\n',
        '\r\n',
        '\0',
        '\x1b[2J',
        '\x1b]0;x\x07',
        '\x7f',
        '\u009b31m',
        '\u2028',
        '\u202e',
        '"',
        '\\',
        '\\n',
      ),
      fc.constantFrom('{"level":60,"msg":"forged"}', '__proto__', '%0a', '%1b', '{jndi:ldap://a}', '%s%d%o', '../'),
      fc.string({ maxLength: 5 }),
    ),
    { maxLength: 6 },
  )
  .map((pieces) => pieces.join(''));

/** As bytes that Node's parser may let through: of latin1, without those that end a line. */
const asHeader = (text: string) =>
  Buffer.from(text)
    .toString('latin1')
    .replaceAll(/[\r\n\0]/g, '');
/** Without halves of surrogate pairs. */
const wellFormed = (text: string) => Buffer.from(text).toString();
const asTarget = (text: string) => asHeader(text).replaceAll(/[ #?]/g, '');

const multipart = (field: string, file: string) =>
  `--b\r\ncontent-disposition: form-data; name="${asHeader(field)}"; filename="${asHeader(file)}"\r\n\r\n${red.toString('latin1')}\r\n--b--\r\n`;

/** Every place that a client fills in. */
const places = {
  path: (text: string) => request({ target: `/${asTarget(text)}` }),
  'encoded path': (text: string) => request({ target: `/${encodeURIComponent(wellFormed(text))}` }),
  model: (text: string) => request({ target: `/models/${encodeURIComponent(wellFormed(text))}` }),
  query: (text: string) => request({ target: `/classify?${asTarget(text)}=${secret}`, method: 'POST' }),
  'model of a query': (text: string) =>
    request({ target: `/classify?model=${encodeURIComponent(wellFormed(text))}`, method: 'POST' }),
  'X-Request-Id': (text: string) => request({ headers: [`X-Request-Id: ${asHeader(text)}`] }),
  'a header': (text: string) => request({ headers: [`${asHeader(text)}: ${asHeader(text)}`] }),
  Host: (text: string) => request({ headers: [`Host: ${asHeader(text)}`] }),
  method: (text: string) => request({ method: asHeader(text) || 'GET' }),
  'Content-Type': (text: string) =>
    request({ method: 'POST', headers: [`Content-Type: ${asHeader(text)}`], body: 'x' }),
  Expect: (text: string) => request({ headers: [`Expect: ${asHeader(text)}`] }),
  Authorization: (text: string) =>
    request({ method: 'POST', target: '/models/colours/load', headers: [`Authorization: ${asHeader(text)}`] }),
  'a field': (text: string) =>
    request({
      method: 'POST',
      headers: ['Content-Type: multipart/form-data; boundary=b'],
      body: multipart(text, 'a.png'),
    }),
  'a file name': (text: string) =>
    request({ method: 'POST', headers: ['Content-Type: multipart/form-data; boundary=b'], body: multipart('a', text) }),
  'a key of JSON': (text: string) =>
    request({ method: 'POST', headers: ['Content-Type: application/json'], body: JSON.stringify({ [text]: secret }) }),
  'a value of JSON': (text: string) =>
    request({
      method: 'POST',
      headers: ['Content-Type: application/json'],
      body: JSON.stringify({ image: secret + text }),
    }),
  'a file name of JSON': (text: string) =>
    request({
      method: 'POST',
      headers: ['Content-Type: application/json'],
      body: JSON.stringify({ image: { file: text, data: red.toString('base64') } }),
    }),
  'a picture': (text: string) =>
    request({
      method: 'POST',
      headers: ['Content-Type: image/png'],
      body: `\x89PNG\r\n\x1a\n${secret}${asHeader(text)}`,
    }),
  'a whole request': (text: string) => `${text}\r\n\r\n`,
} satisfies Record<string, (text: string) => string>;

interface Parts {
  readonly method?: string;
  readonly target?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
}

function request({
  method = 'GET',
  target = method === 'POST' ? '/classify' : '/',
  headers = [],
  body = '',
}: Parts): string {
  const bytes = Buffer.from(body, 'latin1');
  const all = [
    ...(headers.some((one) => one.startsWith('Host')) ? [] : ['Host: a']),
    ...(headers.some((one) => one.startsWith('Authorization')) ? [] : [`Authorization: Bearer ${secret}`]),
    `Cookie: session=${secret}`,
    `X-Api-Key: ${secret}`,
    'Connection: close',
    ...headers,
    ...(body === '' ? [] : [`Content-Length: ${bytes.length}`]),
  ];
  return `${method} ${target} HTTP/1.1\r\n${all.join('\r\n')}\r\n\r\n${body}`;
}

test('whatever a client sends, a line of the log is one JSON object, inert on a terminal, and holds no secret', async (t) => {
  const { url, lines, metrics } = await startService(t, { adminToken: `${secret}-not`, headersTimeoutMs: 2000 });
  const inFlight = async () => (await metrics.inFlight.get()).values[0]?.value ?? 0;
  const image = red.toString('base64').slice(0, 40);
  let checked = 0;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...Object.keys(places)), hostile, async (place, text) => {
      const client = await connectRaw(t, url);
      client.send(Buffer.from(places[place as keyof typeof places](text), 'latin1')).end();
      await client.closed;
      await until(async () => (await inFlight()) === 0);
      for (const line of lines.splice(0)) {
        checked++;
        assert.match(line, /^[^\n]*\n$/);
        const inert = inertLine(line.slice(0, -1));
        assert.doesNotMatch(inert, obeyed);
        const { level, msg, status } = JSON.parse(inert);
        assert.ok(['request', 'connection refused'].includes(msg), line);
        assert.ok(level <= 30 && status < 500, line);
        for (const hidden of [secret, image, 'IHDR', 'session=', 'Bearer']) assert.ok(!line.includes(hidden), line);
      }
    }),
    { numRuns: 600 },
  );
  assert.ok(checked > 300, `${checked} lines`);
});
