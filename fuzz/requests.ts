import { jsonText, mutateJson } from './json.js';
import { interesting, mutateBytes, mutateList } from './mutate.js';
import { mutatePicture } from './pictures.js';
import type { Random } from './random.js';

/** A request as it goes over the wire. Header values are latin1. */
export interface RawRequest {
  readonly method: string;
  readonly target: string;
  readonly version?: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
}

/** Bytes of a request, with its framing header unless it has one. */
export function requestBytes({ method, target, version = 'HTTP/1.1', headers, body }: RawRequest): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.concat([Buffer.from(`${method} ${target} ${version}\r\n${lines}\r\n`, 'latin1'), body]);
}

/** Reads what requestBytes wrote; undefined where there is no head. */
export function readRequest(bytes: Buffer): RawRequest | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const [method = '', target = '', version = ''] = first.split(' ');
  const headers = lines.map((line) => {
    const colon = line.indexOf(': ');
    return [line.slice(0, colon), line.slice(colon + 2)] as const;
  });
  return { method, target, version, headers, body: bytes.subarray(end + 4) };
}

const framed = (body: Buffer): [string, string] => ['content-length', String(body.length)];

function post(target: string, contentType: string, body: Buffer, more: readonly [string, string][] = []): RawRequest {
  const headers: [string, string][] = [['host', 'a'], ['content-type', contentType], framed(body), ...more];
  return { method: 'POST', target, headers, body };
}

const queries = ['', '?top_k=1', '?top_k=1000000', '?model=fashion-vgg', '?model=fashion-vgg&top_k=3'];

/** POST /classify with a picture as its body. */
export function pictureRequest(body: Buffer): Buffer {
  return requestBytes(post('/classify', 'application/octet-stream', body));
}

interface Part {
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/** POST /classify with a multipart body in which something is wrong. */
export function multipartRequest(random: Random, pictures: readonly Buffer[]): Buffer {
  const boundary = random.pick([
    'b',
    '----WebKitFormBoundary7MA4YWxkTrZu0gW',
    "'()+_,-./:=?",
    'x'.repeat(70),
    '--',
    'b b',
  ]);
  let parts: Part[] = [];
  for (let count = 1 + random.small(4); count > 0; count--) parts.push(imagePart(random, pictures));
  for (let times = random.small(3); times > 0; times--) parts = mutateParts(random, parts, boundary, pictures);
  const end = random.pick(['--\r\n', '--\r\n', '--\r\n', '--', '-', '', '\r\n', '--\r\nepilogue', '--\r\n\r\n--b\r\n']);
  const pieces = parts.flatMap(({ headers, body }) => [
    Buffer.from(`--${boundary}\r\n${headers.map((line) => `${line}\r\n`).join('')}\r\n`),
    body,
    Buffer.from(random.once(40) ? '\n' : '\r\n'),
  ]);
  const preamble = random.once(10) ? 'preamble\r\n' : '';
  let body = Buffer.concat([Buffer.from(preamble), ...pieces, Buffer.from(`--${boundary}${end}`)]);
  if (random.once(4)) body = mutateBytes(random, body, pictures) as typeof body;
  const type = random.once(8)
    ? random.pick(contentTypes(boundary))
    : `multipart/form-data; boundary=${/^[\w-]+$/.test(boundary) ? boundary : `"${boundary}"`}`;
  return requestBytes(post(`/classify${random.pick(queries)}`, type, body));
}

function contentTypes(boundary: string): string[] {
  return [
    'multipart/form-data',
    'multipart/form-data; boundary=',
    'multipart/form-data; boundary="',
    `multipart/form-data; boundary=${boundary}; boundary=other`,
    `multipart/form-data; BOUNDARY=${boundary}; charset=utf-16`,
    `multipart/form-data; boundary*=utf-8''${boundary}`,
    `multipart/form-data; boundary=${boundary}x`,
    `multipart/form-data; boundary=${'y'.repeat(5000)}`,
    `multipart/mixed; boundary=${boundary}`,
    'multipart/form-data; __proto__=1; boundary=b',
    'application/x-www-form-urlencoded',
    'application/json',
    'image/png',
    ';;;',
  ];
}

const partNames = [
  'image',
  'file',
  '__proto__',
  'constructor',
  'toString',
  '',
  'model',
  'a[b]',
  'image'.repeat(200),
  'é',
  '\0',
  '%00',
  '"',
  "x'; y=",
];

function imagePart(random: Random, pictures: readonly Buffer[]): Part {
  const picture = random.pick(pictures);
  return {
    headers: [
      `Content-Disposition: form-data; name="${random.once(3) ? random.pick(partNames) : 'image'}"; filename="a.png"`,
      'Content-Type: image/png',
    ],
    body: random.once(3) ? mutatePicture(random, picture, pictures) : picture,
  };
}

function mutateParts(random: Random, parts: readonly Part[], boundary: string, pictures: readonly Buffer[]): Part[] {
  const changed = [...parts];
  const at = random.below(parts.length);
  const part = parts[at] ?? imagePart(random, pictures);
  switch (random.below(6)) {
    case 0:
      return mutateList(random, parts, [imagePart(random, pictures)], 40);
    case 1:
      changed[at] = { ...part, headers: mutateList(random, part.headers, partHeaders, 100) };
      return changed;
    case 2:
      changed[at] = {
        ...part,
        headers: part.headers.map((line) => mutateBytes(random, Buffer.from(line)).toString('latin1')),
      };
      return changed;
    case 3: {
      // A multipart body in a part, with the same boundary or another.
      const inner = random.pick([boundary, 'inner']);
      const body = Buffer.from(
        `--${inner}\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nx\r\n--${inner}--\r\n`,
      );
      changed[at] = { headers: [part.headers[0] ?? '', `Content-Type: multipart/mixed; boundary=${inner}`], body };
      return changed;
    }
    case 4:
      changed[at] = {
        ...part,
        body: Buffer.from(`\r\n--${boundary}`.repeat(random.small(50)) + random.pick(['', '-', '\r', '\n', '--'])),
      };
      return changed;
    default:
      changed[at] = { headers: [random.pick(partHeaders)], body: random.bytes(random.small(3000)) };
      return changed;
  }
}

const partHeaders = [
  'Content-Disposition: form-data',
  'Content-Disposition: form-data; name=image; filename=',
  'Content-Disposition: form-data; name="image"; filename="../../etc/passwd"',
  `Content-Disposition: form-data; name="image"; filename*=UTF-8''%e2%82%ac%ff.png`,
  `Content-Disposition: form-data; name="image"; filename*=utf-99''a; filename*=''; filename*`,
  'Content-Disposition: form-data; name="image"; filename="a\\"b.png"',
  'Content-Disposition: attachment; filename=a.png',
  'Content-Disposition: form-data; name="image',
  'Content-Disposition: form-data; filename="a"; filename="b"; name="c"; name="d"',
  `Content-Disposition: form-data; name="__proto__"; filename="__proto__"`,
  'Content-Disposition: form-data; name="top_k"',
  'Content-Type: text/plain; charset=utf-7',
  'Content-Type: image/png; =; ;',
  'Content-Type: IMAGE/PNG',
  'Content-Transfer-Encoding: base64',
  'Content-Transfer-Encoding: quoted-printable',
  'Content-Length: 5',
  `X-Long: ${'l'.repeat(70_000)}`,
  ': no name',
  'no colon',
  ' folded',
];

/** POST /classify with a JSON body in which something is wrong. */
export function jsonRequest(random: Random, pictures: readonly Buffer[]): Buffer {
  const picture = random.pick(pictures);
  const bytes = random.once(2) ? mutatePicture(random, picture, pictures) : picture;
  const text = mutateBase64(random, bytes.toString('base64'));
  const one = random.pick<unknown>([text, { data: text }, { file: 'a.png', data: text }, { file: null, data: text }]);
  let value: unknown = random.once(2) ? { image: one } : { images: new Array(1 + random.small(20)).fill(one) };
  for (let times = random.small(3); times > 0; times--) value = mutateJson(random, value);
  const type = random.once(10)
    ? random.pick(['application/json; charset=utf-16', 'application/json;', 'text/json', 'application/problem+json'])
    : 'application/json';
  return requestBytes(post(`/classify${random.pick(queries)}`, type, jsonText(random, value)));
}

function mutateBase64(random: Random, text: string): string {
  switch (random.below(8)) {
    case 0:
      return (
        random.pick([
          'data:image/png;base64,',
          'data:;base64,',
          'data:image/png,',
          'data:',
          `data:${'a'.repeat(600)};base64,`,
        ]) + text
      );
    case 1:
      return text.replaceAll('+', '-').replaceAll('/', '_');
    case 2:
      return text + '='.repeat(random.small(5));
    case 3:
      return mutateBytes(random, Buffer.from(text)).toString('latin1');
    case 4:
      return text.slice(0, random.below(text.length + 1));
    default:
      return text;
  }
}

const methods = [
  'GET',
  'POST',
  'HEAD',
  'OPTIONS',
  'PUT',
  'DELETE',
  'PATCH',
  'TRACE',
  'CONNECT',
  'QUERY',
  'PROPFIND',
  'M-SEARCH',
  'get',
  'G\tET',
  'GETGETGETGETGETGETGETGETGETGET',
  '',
];
const targets = [
  '/',
  '/classify',
  '/models',
  '/models/fashion-vgg',
  '/models/__proto__',
  '/models/constructor',
  '/models/nobody/load',
  '/models/fashion-vgg/load?wait=false',
  '/models/fashion-vgg/unload',
  '/metrics',
  '/health/live',
  '/health/ready',
  '//',
  '/..//classify',
  '/%',
  '/%zz',
  '/%00',
  '/%ff',
  '/models/%2e%2e',
  '/models/%E2%82%AC',
  `/models/${'m'.repeat(200)}`,
  `/${'l'.repeat(15_000)}`,
  `/${'l'.repeat(20_000)}`,
  '*',
  'http://other/classify',
  'other:443',
  '/classify#fragment',
  '/classify;a=b',
  '/CLASSIFY',
  '/classify/',
  '/\\classify',
  '',
  '/models/\u00e9',
];
const parameters = [
  'top_k=1',
  'top_k=0',
  'top_k=-1',
  'top_k=1e3',
  'top_k=99999999999999999999999',
  'top_k=1&top_k=2',
  'top_k',
  'top_k[]=1',
  'top_k[a]=1',
  'model=',
  'model=__proto__',
  'model=constructor',
  'model=a&model=b',
  '__proto__=1',
  '__proto__[a]=1',
  'constructor.prototype.a=1',
  'wait=maybe',
  '%',
  '%zz=%zz',
  '&&&',
  '=',
  'a'.repeat(5000),
  '\u00e9=1',
  'model=%00',
  'model=%ff%fe',
];
const strangeHeaders: readonly (readonly [string, string])[] = [
  ['transfer-encoding', 'chunked'],
  ['transfer-encoding', 'chunked, chunked'],
  ['transfer-encoding', 'gzip, chunked'],
  ['transfer-encoding', 'identity'],
  ['transfer-encoding', 'xchunked'],
  ['Transfer-Encoding ', 'chunked'],
  ['transfer-encoding', '\tchunked'],
  ['content-length', '0'],
  ['content-length', '-1'],
  ['content-length', '1e3'],
  ['content-length', '00000005'],
  ['content-length', '5, 5'],
  ['content-length', '5, 6'],
  ['content-length', '99999999999999999999'],
  ['content-length', '64000001'],
  ['content-length', '+5'],
  ['content-length', ''],
  ['expect', '100-continue'],
  ['expect', '200-ok'],
  ['expect', ''],
  ['x-request-timeout-ms', '0'],
  ['x-request-timeout-ms', '1'],
  ['x-request-timeout-ms', '-5'],
  ['x-request-timeout-ms', 'abc'],
  ['x-request-timeout-ms', '99999999999'],
  ['x-request-timeout-ms', '1e3'],
  ['x-request-timeout-ms', '1, 2'],
  ['x-request-id', 'abc'],
  ['x-request-id', '"}\\n{"level":60'],
  ['x-request-id', 'x'.repeat(200)],
  ['x-request-id', '\u00e9\u0080'],
  ['authorization', 'Bearer'],
  ['authorization', 'Bearer x'],
  ['authorization', 'Basic !!!'],
  ['authorization', `Bearer ${'t'.repeat(8000)}`],
  ['authorization', 'Bearer \u00ff'],
  ['content-encoding', 'gzip'],
  ['content-encoding', 'identity, identity'],
  ['connection', 'upgrade'],
  ['upgrade', 'websocket'],
  ['upgrade', 'h2c'],
  ['connection', 'close'],
  ['connection', 'keep-alive, close, te'],
  ['te', 'trailers'],
  ['trailer', 'x'],
  ['host', ''],
  ['host', 'a\u0001b'],
  ['host', 'a, b'],
  ['origin', 'null'],
  ['origin', 'http://evil'],
  ['access-control-request-method', 'POST'],
  ['cookie', `${'c=1; '.repeat(300)}`],
  ['range', 'bytes=0-'],
  ['if-none-match', '*'],
  ['accept', '\u0000'],
  ['x-forwarded-for', '1.2.3.4, __proto__'],
  ['__proto__', 'polluted'],
  ['constructor', 'polluted'],
  ['hasownproperty', 'x'],
  ['content-type', ''],
  ['content-type', 'image/png'],
  ['content-type', 'a/b; c'],
  ['content-type', 'multipart/form-data; boundary=b'],
  ['content-type', 'application/json'],
  ['\u00e9', 'x'],
  ['a b', 'x'],
  ['', 'x'],
  [' folded', 'x'],
  ['x', '\u0001'],
  ['x', 'l'.repeat(17_000)],
  ['x-many', 'y'],
];

/** Bytes for a connection: one to a few requests whose heads, framing and order are wrong here and there. */
export function connectionBytes(random: Random, pictures: readonly Buffer[], pool: readonly Buffer[]): Buffer {
  if (pool.length > 0 && random.once(8)) return mutateBytes(random, random.pick(pool), pictures);
  const requests: Buffer[] = [];
  for (let count = 1 + random.small(3); count > 0; count--) requests.push(oneRequest(random, pictures));
  const bytes = Buffer.concat(requests);
  return random.once(6) ? mutateBytes(random, bytes) : bytes;
}

function oneRequest(random: Random, pictures: readonly Buffer[]): Buffer {
  switch (random.below(8)) {
    case 0:
      return multipartRequest(random, pictures);
    case 1:
      return jsonRequest(random, pictures);
    case 2:
      return pictureRequest(mutatePicture(random, random.pick(pictures), pictures));
    default:
      return strangeRequest(random, pictures);
  }
}

function strangeRequest(random: Random, pictures: readonly Buffer[]): Buffer {
  const body = random.once(3)
    ? Buffer.alloc(0)
    : random.once(2)
      ? random.bytes(random.small(300))
      : random.pick(pictures);
  const query = random.once(2)
    ? ''
    : `?${random.pick(parameters)}${random.once(4) ? `&${random.pick(parameters)}` : ''}`;
  let headers: (readonly [string, string])[] = [
    ['host', 'a'],
    ...(random.once(2)
      ? ([['content-type', random.pick(['image/png', 'application/json', 'application/octet-stream'])]] as const)
      : []),
  ];
  const chunked = random.once(3);
  headers.push(chunked ? ['transfer-encoding', 'chunked'] : framed(body));
  for (let times = random.small(4); times > 0; times--) headers = mutateList(random, headers, strangeHeaders, 3000);
  return requestBytes({
    method: random.once(3) ? random.pick(methods) : random.pick(['GET', 'POST']),
    target: `${random.once(3) ? random.pick(targets) : random.pick(['/classify', '/models', '/health/ready'])}${query}`,
    version: random.once(15)
      ? random.pick(['HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/1.', 'http/1.1', 'ICY', ''])
      : 'HTTP/1.1',
    headers,
    body: chunked ? chunkedBody(random, body) : body,
  });
}

function chunkedBody(random: Random, body: Buffer): Buffer {
  const pieces: Buffer[] = [];
  const size = Math.max(1, random.small(body.length + 1), Math.ceil(body.length / 500));
  for (let at = 0; at < body.length; at += size) {
    const piece = body.subarray(at, at + size);
    pieces.push(
      Buffer.from(`${chunkSize(random, piece.length)}\r\n`),
      piece,
      Buffer.from(random.once(60) ? '\n' : '\r\n'),
    );
  }
  const end = random.pick([
    '0\r\n\r\n',
    '0\r\n\r\n',
    '0\r\n\r\n',
    '0\r\nx: y\r\n\r\n',
    '0\r\ncontent-length: 5\r\n\r\n',
    '00000000\r\n\r\n',
    '0\r\n',
    '0',
    '-1\r\n\r\n',
    '',
  ]);
  return Buffer.concat([...pieces, Buffer.from(end)]);
}

function chunkSize(random: Random, length: number): string {
  if (!random.once(40)) return length.toString(16);
  const strange = random.pick(interesting).toString(16);
  return random.pick([
    strange,
    `${length.toString(16)};ext=1`,
    `${length.toString(16)};${'e'.repeat(5000)}`,
    ` ${length}`,
    `0x${length}`,
    `+${length}`,
    'ffffffffffffffffff',
    'z',
  ]);
}
