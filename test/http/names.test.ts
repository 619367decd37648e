import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { ManifestError, readManifest } from '../../src/model-registry/manifest.js';
import { smallManifest, temporaryFolder, writeManifest } from '../model-registry/small-model.js';
import { png, startService } from '../routes/service.js';
import { connectRaw } from './raw.js';

const red = await png('#e00000');
const data = red.toString('base64');
const names = ['__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'hasOwnProperty', '__defineGetter__'];

const before = Object.getOwnPropertyNames(Object.prototype).sort();

/** Whether what every object inherits is as it was. */
function assertClean(where: string): void {
  assert.deepEqual(Object.getOwnPropertyNames(Object.prototype).sort(), before, where);
  assert.equal(({} as { polluted?: unknown }).polluted, undefined, where);
  assert.equal(({} as { image?: unknown }).image, undefined, where);
  assert.equal(typeof Object.prototype.toString, 'function', where);
}

interface Case {
  readonly line: string;
  readonly headers?: readonly string[];
  readonly body?: string | Buffer;
  readonly status: number;
  readonly code?: string;
}

const json = ['Content-Type: application/json'];
const form = ['Content-Type: multipart/form-data; boundary=b'];
const part = (field: string, file: string) =>
  Buffer.concat([
    Buffer.from(`--b\r\ncontent-disposition: form-data; name="${field}"; filename="${file}"\r\n\r\n`),
    red,
    Buffer.from('\r\n--b--\r\n'),
  ]);
const evil = '{"polluted": true, "image": "x"}';

/** With the name in each place that a client fills in. */
const cases = (name: string): Record<string, Case> => ({
  'an address': { line: `GET /${name}`, status: 404, code: 'not_found' },
  'a model': { line: `GET /models/${name}`, status: 404, code: 'unknown_model' },
  'a model to load': {
    line: `POST /models/${name}/load`,
    headers: ['Authorization: Bearer token'],
    status: 404,
    code: 'unknown_model',
  },
  'a model to classify with': {
    line: `POST /classify?model=${name}`,
    headers: ['Content-Type: image/png'],
    body: red,
    status: 404,
    code: 'unknown_model',
  },
  'a query parameter': { line: `POST /classify?${name}=1`, body: red, status: 400, code: 'unknown_query_parameter' },
  'a query parameter in brackets': {
    line: `POST /classify?${name}[polluted]=1`,
    body: red,
    status: 400,
    code: 'unknown_query_parameter',
  },
  'the value of top_k': { line: `POST /classify?top_k=${name}`, body: red, status: 400, code: 'bad_top_k' },
  'a header': { line: 'GET /health/live', headers: [`${name}: {"polluted":true}`, `${name}: again`], status: 200 },
  'the id of the request': { line: 'GET /health/live', headers: [`X-Request-Id: ${name}`], status: 200 },
  'a media type': {
    line: 'POST /classify',
    headers: [`Content-Type: ${name}/${name}`],
    body: red,
    status: 415,
    code: 'unsupported_media_type',
  },
  'a key of JSON': {
    line: 'POST /classify',
    headers: json,
    body: `{"${name}": ${evil}}`,
    status: 400,
    code: 'bad_json',
  },
  'a key of JSON beside a picture': {
    line: 'POST /classify',
    headers: json,
    body: `{"image": "${data}", "${name}": ${evil}}`,
    status: 400,
    code: 'bad_json',
  },
  'a key of a picture': {
    line: 'POST /classify',
    headers: json,
    body: `{"images": [{"data": "${data}", "${name}": ${evil}}]}`,
    status: 400,
    code: 'bad_json',
  },
  'the only key of a picture': {
    line: 'POST /classify',
    headers: json,
    body: `{"image": {"${name}": {"data": "${data}"}}}`,
    status: 400,
    code: 'bad_json',
  },
  'a file name of JSON': {
    line: 'POST /classify',
    headers: json,
    body: `{"image": {"file": "${name}", "data": "${data}"}}`,
    status: 200,
  },
  'a file name of a form': { line: 'POST /classify', headers: form, body: part('image', name), status: 200 },
});

for (const name of names) {
  test(`the name ${name} wherever a client can write one`, async (t) => {
    const { url } = await startService(t, { adminToken: 'token' });
    for (const [where, { line, headers = [], body = '', status, code }] of Object.entries(cases(name))) {
      const length = Buffer.byteLength(body);
      const head = [`${line} HTTP/1.1`, 'Host: a', 'Connection: close', ...headers, `Content-Length: ${length}`];
      const client = (await connectRaw(t, url)).send(`${head.join('\r\n')}\r\n\r\n`).send(body);
      const answer = await client.lastAnswer();
      assert.deepEqual([answer.status, answer.code], [status, code], `${where}: ${answer.body}`);
      if (where.startsWith('a file name')) assert.equal(JSON.parse(answer.body).results[0].file, name);
      assertClean(where);
    }
    // The parser of forms refuses those that every object has.
    const body = part(name, 'a.png');
    const head = ['POST /classify HTTP/1.1', 'Host: a', 'Connection: close', ...form, `Content-Length: ${body.length}`];
    const client = (await connectRaw(t, url)).send(`${head.join('\r\n')}\r\n\r\n`).send(body);
    const { status, code } = await client.lastAnswer();
    assert.deepEqual([status, code], name in {} ? [400, 'bad_multipart'] : [200, undefined]);
    assertClean('a field of a form');
  });

  test(`the name ${name} wherever a manifest can have one`, async (t) => {
    const folder = temporaryFolder(t);
    const text = JSON.stringify(smallManifest);
    const key = `"${name}": ${evil}, `;
    const refused = {
      'a key of the manifest': text.replace('{', `{${key}`),
      'a key of weights': text.replace('"weights":{', `"weights":{${key}`),
      'a key of network': text.replace('"network":{', `"network":{${key}`),
      'a key of transforms': text.replace('"transforms":{', `"transforms":{${key}`),
      'a key of meta': text.replace('"meta":{', `"meta":{${key}`),
      'the only key': `{${key.slice(0, -2)}}`,
      'the builder': JSON.stringify({ ...smallManifest, network: { builder: name, classes: 4 } }),
      'the cfg': JSON.stringify({ ...smallManifest, network: { ...smallManifest.network, cfg: name } }),
      'an item of the cfg': JSON.stringify({ ...smallManifest, network: { ...smallManifest.network, cfg: [2, name] } }),
      'the precision': JSON.stringify({ ...smallManifest, precision: name }),
    };
    for (const [where, json] of Object.entries(refused)) {
      assert.notEqual(json, text, where);
      const path = join(folder, 'evil.json');
      await writeFile(path, json);
      await assert.rejects(readManifest(path), ManifestError, where);
      assertClean(where);
    }
    const categories = [name, name, 'blue', 'first'];
    const fine = { ...smallManifest, weights: { ...smallManifest.weights, name }, categories };
    const manifest = await readManifest(writeManifest(folder, fine));
    assert.deepEqual([manifest.weights, manifest.categories], [name, categories]);
    assertClean('categories');
  });
}
