import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import test from 'node:test';
import fc from 'fast-check';
import { pino } from 'pino';
import { inertLine, prettyLines } from '../src/logging.js';

const obeyed = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

test('inertLine: the same JSON, without a character that a terminal obeys', () => {
  const hostile = fc.string({
    unit: fc.oneof(fc.constantFrom('\x1b', '\x9b', '\x7f', '\n', '\\', '"', '\u202e', '\u2028'), fc.string()),
  });
  fc.assert(
    fc.property(hostile, hostile, (name, text) => {
      const line = inertLine(JSON.stringify({ [name]: text }));
      assert.doesNotMatch(line, obeyed);
      assert.deepEqual(Object.entries(JSON.parse(line)), [[name, text]]);
    }),
  );
});

test('the logger on stdout writes such lines', async () => {
  const program =
    "import { createLogger } from './dist/src/logging.js'; createLogger('info').info({ path: process.argv[1] }, process.argv[1]);";
  const hostile = 'a\x1b[2J\x9b31m\r\n{"level":60}\u202eb';
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, hostile], {
    cwd: new URL('../..', import.meta.url),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  await once(child, 'close');
  assert.match(output, /^[^\n]*\n$/);
  assert.doesNotMatch(output.slice(0, -1), obeyed);
  const { msg, path } = JSON.parse(output);
  assert.deepEqual([msg, path], [hostile, hostile]);
});

test('prettyLines: what a terminal obeys is spelled out, in the message, in fields and in an error', async () => {
  const destination = new PassThrough();
  let output = '';
  destination.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const hostile = 'a\x1b[2J\x9b31m\r\b\x07\u202eb \\u001b';
  const logger = pino({ base: null }, prettyLines(destination));
  logger.error({ path: hostile, err: new Error(hostile) }, hostile);
  while (!output.includes('"path"')) await new Promise((resolve) => setTimeout(resolve, 2));
  const withoutColours = output.replaceAll(/\p{Cc}\[\d+m/gu, '');
  assert.doesNotMatch(withoutColours.replaceAll('\n', ''), obeyed);
  assert.ok(withoutColours.includes(String.raw`a\u001b[2J\u009b31m\r\b\u0007\u202eb \u001b`), withoutColours);
});
