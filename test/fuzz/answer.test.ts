import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Answer, outcomeOf, troubleInLog } from '../../fuzz/answer.js';
import { checkPrototypes, Finding, refusal } from '../../fuzz/finding.js';
import { growth } from '../../fuzz/memory-rounds.js';
import { outcomeOfBytes } from '../../fuzz/over-socket.js';

const problem = {
  type: 'urn:vgg-serve:error:bad_json',
  title: 'Bad JSON',
  status: 400,
  detail: 'no',
  code: 'bad_json',
};
const sound: Answer = {
  status: 400,
  contentType: 'application/problem+json; charset=utf-8',
  body: JSON.stringify(problem),
  bodiless: false,
};
const json = { contentType: 'application/json', status: 200 };

test('outcomeOf() names a refusal by its code and an answer by its status', () => {
  assert.equal(outcomeOf(sound).name, '400 bad_json');
  assert.equal(outcomeOf({ ...sound, ...json, body: '{"live":true}' }).name, '200');
  assert.equal(outcomeOf({ ...sound, status: 404, body: '', bodiless: true }).name, '404');
});

describe('outcomeOf() throws a Finding for', () => {
  const findings: Record<string, Partial<Answer>> = {
    'a 500': { status: 500, body: JSON.stringify({ ...problem, status: 500, code: 'internal' }) },
    'a 500 without a body': { status: 500, body: '', bodiless: true },
    'a redirection': { status: 302 },
    "a refusal of Node's own, without a body": { contentType: undefined, body: '', bodiless: true },
    'a refusal that is no problem': { contentType: 'text/plain' },
    'a refusal that is not JSON': { body: '<html>' },
    'a code that there is not': { body: JSON.stringify({ ...problem, code: 'constructor' }) },
    'a code of another status': { body: JSON.stringify({ ...problem, code: 'not_found' }) },
    'a problem without detail': { body: JSON.stringify({ ...problem, detail: '' }) },
    'a result with a fault of the program': {
      ...json,
      body: '{"results":[{"error":{"code":"internal","status":500}}]}',
    },
    'probabilities that are none': { ...json, body: '{"results":[{"predictions":[{"probability":null}]}]}' },
    'an answer that is not JSON': { ...json, body: '{"results":[' },
  };
  for (const [what, change] of Object.entries(findings)) {
    test(what, () => assert.throws(() => outcomeOf({ ...sound, ...change }), Finding));
  }
});

test('outcomeOfBytes() reads one answer after the other, and takes nothing else for one', () => {
  const ok = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n';
  const chunked =
    'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n';
  const refused = `HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: ${sound.body.length}\r\n\r\n${sound.body}`;
  const outcome = (text: string) => outcomeOfBytes(Buffer.from(text)).name;
  assert.equal(outcome(''), 'no answer');
  assert.equal(outcome(`${ok}{}${refused}`), '400 bad_json');
  assert.equal(outcome(`${ok}${refused}`), '400 bad_json', 'a HEAD before it');
  assert.equal(outcome(`HTTP/1.1 100 Continue\r\n\r\n${chunked}${ok}{}`), '200');
  assert.throws(() => outcome(`${ok}{}garbage`), Finding);
  assert.throws(() => outcome(refused.replace('400', '500')), Finding);
});

test('troubleInLog() finds errors and lines that are none', () => {
  assert.equal(troubleInLog('{"level":30,"msg":"request"}'), undefined);
  assert.match(
    troubleInLog('{"level":50,"msg":"request","err":{"message":"x is not a function"}}') ?? '',
    /not a function/,
  );
  assert.match(troubleInLog('{"level":30,"msg":"a') ?? '', /none/);
});

test('refusal() lets named errors pass and finds the others', () => {
  class CheckpointError extends Error {
    override readonly name = 'CheckpointError';
    readonly reason = 'truncated';
  }
  assert.equal(refusal(new CheckpointError('a'), ['CheckpointError']).name, 'CheckpointError truncated');
  assert.throws(
    () => refusal(new TypeError('x is undefined'), ['CheckpointError']),
    /TypeError escapes: x is undefined/,
  );
});

test('checkPrototypes() sees a property that every object has', () => {
  checkPrototypes();
  Object.defineProperty(Object.prototype, 'polluted', { value: 1, configurable: true });
  try {
    assert.throws(checkPrototypes, Finding);
  } finally {
    Reflect.deleteProperty(Object.prototype, 'polluted');
  }
});

test('growth() is what goes on to the end, not what warms up', () => {
  const mib = 1 << 20;
  const rounds = (bytes: (round: number) => number) => Array.from({ length: 30 }, (_, round) => bytes(round) * mib);
  assert.equal(growth(rounds((round) => 200 + Math.min(round * 40, 400))), undefined);
  assert.equal(growth(rounds((round) => 200 + round)), undefined);
  assert.equal(growth([200, 400, 800].map((bytes) => bytes * mib)), undefined, 'too few rounds');
  assert.match(growth(rounds((round) => 200 + round * 10)) ?? '', /MB after/);
});
