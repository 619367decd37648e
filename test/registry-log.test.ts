import assert from 'node:assert/strict';
import test from 'node:test';
import { pino } from 'pino';
import { registryLog } from '../src/registry-log.js';

/** An observer, and the lines that it has written: level, message, and what else is asked for. */
function logged() {
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ base: null }, { write: (line) => lines.push(JSON.parse(line)) });
  return { log: registryLog(logger), lines, messages: () => lines.map(({ msg }) => msg) };
}

const bytes = { step: 'fetching', totalBytes: 553e6 } as const;

test('a fetch: a line for each tenth of the file, however often it is reported', () => {
  const { log, lines, messages } = logged();
  log.stateChanged('vgg16', 'loading');
  log.loadProgress('vgg16', { step: 'fetching' });
  for (let share = 0; share <= 100; share++) {
    log.loadProgress('vgg16', { ...bytes, receivedBytes: share * 5.53e6 });
  }
  assert.equal(lines.length, 10);
  assert.equal(lines[0]?.model, 'vgg16');
  assert.match(String(messages()[0]), /^fetching vgg16: 10 % \(55\.3.* 553\.0 MB\)$/);
  assert.match(String(messages()[9]), /^fetching vgg16: 100 % /);
});

test('another load of the same model, and another model, begin with their own first tenth', () => {
  const { log, messages } = logged();
  for (const model of ['vgg16', 'vgg16', 'vgg19']) {
    log.stateChanged(model, 'loading');
    log.loadProgress(model, { ...bytes, receivedBytes: 300e6 });
  }
  assert.deepEqual(
    messages().map((message) => String(message).split(' %')[0]),
    ['fetching vgg16: 54', 'fetching vgg16: 54', 'fetching vgg19: 54'],
  );
});

test('a model that is ready: its engine and the milliseconds of each part', () => {
  const { log, lines } = logged();
  const info = { engine: 'onnxruntime', version: '1.2.3', device: 'cpu', precision: 'fp32', threads: 2 } as const;
  const times = { locate: 0.04, index: 5, convert: 0, engineStart: 900.26, warmUp: 400.31, hash: 700, total: 905.33 };
  log.loaded('vgg16', { ...info, warmUpMs: 400.31 }, times);
  const [{ level, time, ...line } = {}] = lines;
  assert.deepEqual([level, typeof time], [30, 'number']);
  const load_ms = { locate: 0, index: 5, convert: 0, engine_start: 900.3, warm_up: 400.3, hash: 700, total: 905.3 };
  assert.deepEqual(line, { model: 'vgg16', ...info, load_ms, msg: 'model ready' });
});

test('a model of another precision: how far it is from fp32, or a warning why that is not known', () => {
  const { log, lines } = logged();
  const info = {
    engine: 'native',
    version: '1.2.3',
    device: 'cpu',
    precision: 'bf16',
    isa: 'amx',
    threads: 2,
  } as const;
  const times = { locate: 0, index: 0, convert: 0, agreement: 1200.26, engineStart: 1, warmUp: 1, hash: 1, total: 2 };
  const agreement = {
    ...{ pictures: 20, skipped: 0, from: 'here', top1: 0.95 },
    ...{ largest_probability_difference: 0.01, largest_logit_difference_relative: 0.02 },
  };
  log.loaded('vgg16@bf16', info, times, agreement);
  log.loaded('vgg16@bf16', info, times, new Error('no memory'));
  assert.deepEqual(
    lines.map(({ level, msg, precision }) => [level, msg, precision]),
    [
      [30, 'compared with fp32', 'bf16'],
      [30, 'model ready', 'bf16'],
      [40, 'not compared with fp32', 'bf16'],
      [30, 'model ready', 'bf16'],
    ],
  );
  assert.deepEqual(lines[0]?.agreement, agreement);
  assert.match(JSON.stringify(lines[2]?.err), /no memory/);
  assert.deepEqual(lines[1]?.load_ms, {
    ...{ locate: 0, index: 0, convert: 0, agreement: 1200.3, engine_start: 1, warm_up: 1, hash: 1, total: 2 },
  });
});

test('a model that failed: an error with its cause; one that was never loaded: nothing', () => {
  const { log, lines } = logged();
  log.stateChanged('vgg16', 'unloaded');
  assert.equal(lines.length, 0);
  log.stateChanged('vgg16', 'loading');
  log.stateChanged('vgg16', 'failed', new Error('no memory left', { cause: new Error('ENOMEM') }));
  log.stateChanged('vgg16', 'unloaded');
  const [failed, unloaded] = lines;
  assert.deepEqual([failed?.level, failed?.msg, unloaded?.msg], [50, 'model not loaded', 'model unloaded']);
  assert.match(JSON.stringify(failed?.err), /no memory left.*ENOMEM/);
});
