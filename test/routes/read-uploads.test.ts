import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import test from 'node:test';
import { png, type Service, startService, until } from './service.js';

const red = await png('#e00000');
const data = red.toString('base64');

const file = (field: string, content: string | Buffer) => [
  `--b\r\ncontent-disposition: form-data; name="${field}"; filename="f.png"\r\n\r\n`,
  content,
  '\r\n',
];
const field = (name: string, value: string) => [
  `--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
];
const end = '--b--\r\n';

const multipartBodies: Readonly<Record<string, { parts: (string | Buffer)[]; code: string; detail: RegExp }>> = {
  'no part': { parts: [end], code: 'no_image', detail: /curl -F image=@FILE/ },
  'a part that ends too early': { parts: file('a', red).slice(0, 2), code: 'bad_multipart', detail: /cannot be read/ },
  'no end after a part': { parts: file('a', red), code: 'bad_multipart', detail: /unexpected end of multipart data/ },
  'an end in the middle of a head': {
    parts: [...file('a', red), '--b\r\ncontent-disp'],
    code: 'bad_multipart',
    detail: /cannot be read/,
  },
  'another boundary': { parts: ['--c\r\n\r\n\r\n--c--\r\n'], code: 'bad_multipart', detail: /cannot be read/ },
  'the field top_k': {
    parts: [...file('a', red), ...field('top_k', '3'), end],
    code: 'bad_multipart',
    detail: /"top_k" is a plain field.*Give top_k in the query: \/classify\?top_k=/,
  },
  'the field model before the file': {
    parts: [...field('model', 'colours'), ...file('a', red), end],
    code: 'bad_multipart',
    detail: /\?model=/,
  },
  'a picture sent as a field': { parts: [...field('image', 'PNG'), end], code: 'bad_multipart', detail: /with the @/ },
  'many fields': {
    parts: [...Array.from({ length: 50 }, (_, i) => field(`f${i}`, 'x')).flat(), end],
    code: 'bad_multipart',
    detail: /"f0" is a plain field/,
  },
  'a field name that JavaScript reserves': {
    parts: [...file('constructor', red), end],
    code: 'bad_multipart',
    detail: /JavaScript reserves/,
  },
  'an empty file': { parts: [...file('a', ''), end], code: 'empty_body', detail: /./ },
  'three files where two are allowed': {
    parts: [...file('a', red), ...file('b', red), ...file('c', red), end],
    code: 'too_many_images',
    detail: /more than the 2 pictures/,
  },
  'five files where two are allowed': {
    parts: [...Array.from({ length: 5 }, () => file('a', red)).flat(), end],
    code: 'too_many_images',
    detail: /more than the 2 pictures/,
  },
};

for (const [circumstance, { parts, code, detail }] of Object.entries(multipartBodies)) {
  test(`POST /classify with a multipart body: ${circumstance}`, async (t) => {
    const service = await startService(t, { maxPictures: 2 });
    const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
    const answer = await post(service, 'multipart/form-data; boundary=b', body);
    assert.equal(answer.code, code, answer.detail);
    assert.match(answer.detail ?? '', detail);
  });
}

test('POST /classify with a multipart body whose Content-Type names no boundary', async (t) => {
  const answer = await post(await startService(t), 'multipart/form-data', Buffer.from(end));
  assert.equal(answer.code, 'bad_multipart');
});

test('POST /classify with a multipart body in chunks that is too large as a whole, and no file of it is', async (t) => {
  const service = await startService(t, { maxPictureBytes: 30_000, maxRequestBytes: 50_000 });
  const parts = [...file('a', Buffer.alloc(29_000)), ...file('b', Buffer.alloc(29_000)), end];
  const body = ReadableStream.from(parts.map((part) => Buffer.from(part)));
  const answer = await post(service, 'multipart/form-data; boundary=b', body);
  assert.equal(answer.code, 'request_too_large');
});

const jsonBodies: Readonly<Record<string, { body: unknown; code: string; detail: RegExp }>> = {
  'not JSON': { body: '{', code: 'bad_json', detail: /not JSON/ },
  'a byte that is no UTF-8': { body: Buffer.from([0x7b, 0xff, 0x7d]), code: 'bad_json', detail: /not JSON/ },
  'a list': { body: [data], code: 'bad_json', detail: /The body is not an object/ },
  null: { body: 'null', code: 'bad_json', detail: /not an object/ },
  'no picture': { body: {}, code: 'no_image', detail: /"images"/ },
  'an empty list': { body: { images: [] }, code: 'no_image', detail: /empty/ },
  'images that is no list': { body: { images: data }, code: 'bad_json', detail: /"images" is not a list/ },
  'both images and image': { body: { images: [data], image: data }, code: 'bad_json', detail: /Exactly one/ },
  'a field that there is not': { body: { image: data, top_k: 3 }, code: 'bad_json', detail: /a field "top_k"/ },
  'a number for a picture': { body: { images: [data, 3] }, code: 'bad_json', detail: /images\[1\] is not an object/ },
  'a picture without data': { body: { image: { file: 'a' } }, code: 'bad_json', detail: /"data" of "image"/ },
  'a name that is no text': { body: { image: { file: 1, data } }, code: 'bad_json', detail: /"file" of "image"/ },
  'a picture with a field that there is not': {
    body: { image: { data, name: 'a' } },
    code: 'bad_json',
    detail: /"image" has a field "name"/,
  },
  'three pictures where two are allowed': {
    body: { images: [data, data, data] },
    code: 'too_many_images',
    detail: /more than the 2/,
  },
  'an empty text': { body: { image: '' }, code: 'empty_body', detail: /./ },
  'base64 with a line break': { body: { image: `${data.slice(0, 8)}\n` }, code: 'bad_base64', detail: /"\\n" at 8/ },
};

for (const [circumstance, { body, code, detail }] of Object.entries(jsonBodies)) {
  test(`POST /classify with JSON: ${circumstance}`, async (t) => {
    const service = await startService(t, { maxPictures: 2 });
    const raw = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const answer = await post(service, 'application/json', Buffer.from(raw));
    assert.equal(answer.code, code, answer.detail);
    assert.match(answer.detail ?? '', detail);
  });
}

const otherBodies: Readonly<Record<string, { headers: Record<string, string>; code: string; detail: RegExp }>> = {
  'no Content-Type': { headers: {}, code: 'unsupported_media_type', detail: /no Content-Type/ },
  'a Content-Type that is none': {
    headers: { 'content-type': 'png' },
    code: 'unsupported_media_type',
    detail: /type\/subtype/,
  },
  'text/plain': { headers: { 'content-type': 'text/plain' }, code: 'unsupported_media_type', detail: /is text\/plain/ },
  'multipart/mixed': {
    headers: { 'content-type': 'multipart/mixed; boundary=b' },
    code: 'unsupported_media_type',
    detail: /is multipart\/mixed/,
  },
  compression: {
    headers: { 'content-type': 'image/png', 'content-encoding': 'gzip' },
    code: 'unsupported_media_type',
    detail: /Content-Encoding/,
  },
};

for (const [circumstance, { headers, code, detail }] of Object.entries(otherBodies)) {
  test(`POST /classify with ${circumstance}`, async (t) => {
    const { url } = await startService(t);
    const answer = await new Promise<Answer>((resolve, reject) => {
      const request = httpRequest(`${url}/classify`, { method: 'POST', headers }, async (response) => {
        resolve(JSON.parse(Buffer.concat(await response.toArray()).toString()));
      });
      request.on('error', reject).end(red);
    });
    assert.equal(answer.code, code, answer.detail);
    assert.match(answer.detail ?? '', detail);
  });
}

test('POST /classify with an empty body of any kind', async (t) => {
  const { url } = await startService(t);
  for (const type of ['image/png', 'application/json', 'multipart/form-data; boundary=b', undefined]) {
    for (const framing of [{ 'content-length': 0 }, { 'transfer-encoding': 'chunked' }]) {
      const headers = { ...(type && { 'content-type': type }), ...framing };
      const answer = await new Promise<Answer>((resolve, reject) => {
        const request = httpRequest(`${url}/classify`, { method: 'POST', headers }, async (response) => {
          resolve(JSON.parse(Buffer.concat(await response.toArray()).toString()));
        });
        request.on('error', reject).end();
      });
      const chunked = 'transfer-encoding' in framing;
      const code =
        chunked && type === undefined
          ? 'unsupported_media_type'
          : chunked && type?.startsWith('multipart')
            ? 'no_image'
            : 'empty_body';
      assert.equal(answer.code, code, `${type} ${JSON.stringify(framing)}`);
    }
  }
});

for (const type of ['image/png', 'application/json', 'multipart/form-data; boundary=b']) {
  test(`a client that leaves in the middle of a body of ${type}`, async (t) => {
    const { url, log, engine } = await startService(t);
    const request = httpRequest(`${url}/classify`, {
      method: 'POST',
      headers: { 'content-type': type, 'content-length': 10_000 },
    });
    request.on('error', () => {});
    await new Promise<void>((resolve) =>
      request.write(Buffer.concat([Buffer.from(file('a', '').join('')), red]), () => resolve()),
    );
    request.destroy();
    await until(() => log.length > 0);
    assert.equal(log[0]?.status, 499);
    assert.equal(log[0]?.code, 'client_closed_request');
    assert.equal(log[0]?.err, undefined);
    assert.deepEqual(engine.batches, []);
  });

  test(`a body of ${type} that never ends, at the deadline`, async (t) => {
    const { url, log } = await startService(t, { timeoutMs: 100 });
    const answer = await new Promise<Answer>((resolve, reject) => {
      const headers = { 'content-type': type, 'content-length': 10_000 };
      const request = httpRequest(`${url}/classify`, { method: 'POST', headers }, async (response) => {
        resolve(JSON.parse(Buffer.concat(await response.toArray()).toString()));
        request.destroy();
      });
      request.on('error', reject);
      request.write(file('a', '')[0] as string);
    });
    assert.equal(answer.code, 'deadline_exceeded');
    await until(() => log.length > 0);
    assert.equal(log[0]?.status, 504);
  });
}

interface Answer {
  readonly status?: number;
  readonly code?: string;
  readonly detail?: string;
}

async function post({ url }: Service, type: string, body: NonNullable<RequestInit['body']>): Promise<Answer> {
  const headers = { 'content-type': type };
  // undici asks for `duplex` where the body is a stream.
  const response = await fetch(`${url}/classify`, { method: 'POST', headers, body, duplex: 'half' });
  const answer = (await response.json()) as Answer;
  assert.equal(response.status, answer.status, JSON.stringify(answer));
  return answer;
}
