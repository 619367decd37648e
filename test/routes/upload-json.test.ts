import assert from 'node:assert/strict';
import test from 'node:test';
import { decodeBase64 } from '../../src/routes/upload-json.js';

test('decodeBase64() of what RFC 4648 gives as examples', () => {
  for (const text of ['', 'f', 'fo', 'foo', 'foob', 'fooba', 'foobar']) {
    assert.equal(Buffer.from(decodeBase64(Buffer.from(text).toString('base64'))).toString(), text);
  }
});

test('decodeBase64() of a data: URI', () => {
  for (const head of [
    'data:image/png;base64,',
    'data:;base64,',
    'data:image/svg+xml;charset=utf-8;base64,',
    'data:;BASE64,',
  ]) {
    assert.equal(Buffer.from(decodeBase64(`${head}Zm8=`)).toString(), 'fo');
  }
});

for (const [text, problem] of Object.entries({
  Z: /multiple of 4/,
  Zm9: /multiple of 4/,
  Zm8: /multiple of 4/,
  'Zm8==': /multiple of 4/,
  'Z===': /"=" at 1/,
  '====': /"=" at 0/,
  'Zm=8': /"=" at 2/,
  'Zm8=Zm8=': /"=" at 3/,
  'Zm8 ': /" " at 3/,
  'Zm9v\n': /"\\n" at 4/,
  'Zm-_': /"-" at 2/,
  'Zm9😀': /"😀" at 3/,
  'data:image/png,Zm8=': /no ";base64,"/,
  'data:image/png;base64': /no ";base64,"/,
})) {
  test(`decodeBase64() of ${JSON.stringify(text)}`, () => {
    assert.throws(() => decodeBase64(text), { code: 'bad_base64', message: problem });
  });
}
