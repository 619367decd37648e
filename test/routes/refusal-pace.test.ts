import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { pino } from 'pino';
import type { RequestRecord } from '../../src/routes/record.js';
import { RefusalLog } from '../../src/routes/refusal-log.js';
import { RefusalPace } from '../../src/routes/refusal-pace.js';

/** @returns lets time pass */
function stopClock(t: TestContext): (ms: number) => Promise<void> {
  let now = 5000;
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  t.mock.method(performance, 'now', () => now);
  return async (ms) => {
    now += ms;
    t.mock.timers.tick(ms);
    await new Promise((resolve) => setImmediate(resolve));
  };
}

function turns(pace: RefusalPace, count: number, deadlineMs = 60_000) {
  const state = { sent: 0, records: [] as RequestRecord[] };
  for (let turn = 0; turn < count; turn++) {
    const record: RequestRecord = { startedAt: performance.now() };
    state.records.push(record);
    void pace.turn(record, performance.now() + deadlineMs).then(() => state.sent++);
  }
  return state;
}

test('a hundred refusals go at once, further ones 250 a second, in their order', async (t) => {
  const advance = stopClock(t);
  const pace = new RefusalPace(() => false);
  const first = turns(pace, 110);
  const second = turns(pace, 300);
  await advance(0);
  assert.deepEqual([first.sent, second.sent], [100, 0]);
  await advance(40);
  assert.deepEqual([first.sent, second.sent], [110, 0]);
  await advance(120);
  assert.deepEqual([first.sent, second.sent], [110, 30]);
  await advance(3000);
  assert.equal(second.sent, 130, 'no more than a hundred are saved up');
});

test('a refusal waits no longer than four seconds, nor beyond its deadline', async (t) => {
  const advance = stopClock(t);
  const pace = new RefusalPace(() => false);
  turns(pace, 5000);
  const hurried = turns(pace, 10, 35);
  const last = turns(pace, 1);
  await advance(20);
  assert.equal(hurried.sent, 0);
  await advance(20);
  assert.equal(hurried.sent, 10);
  for (let tick = 0; tick < 197; tick++) await advance(20);
  assert.equal(last.sent, 0);
  await advance(60);
  assert.equal(last.sent, 1);
});

test('of more than can have their turn in time, some go earlier than at the usual pace', async (t) => {
  const advance = stopClock(t);
  const pace = new RefusalPace(() => false);
  const all = turns(pace, 5100);
  await advance(0);
  const atFirst = all.sent;
  for (let tick = 0; tick < 50; tick++) await advance(20);
  // 5,000 wait, four seconds at most: so 1,250 a second at first, less with those that have gone.
  assert.ok(all.sent - atFirst > 1000 && all.sent - atFirst <= 1250, `${all.sent - atFirst} in a second`);
});

test('once the service leaves, nobody waits for a refusal', async (t) => {
  const advance = stopClock(t);
  let isLeaving = false;
  const pace = new RefusalPace(() => isLeaving);
  const all = turns(pace, 400);
  await advance(20);
  assert.ok(all.sent < 110);
  isLeaving = true;
  await advance(20);
  assert.equal(all.sent, 400);
  const late = turns(pace, 200);
  await advance(0);
  assert.equal(late.sent, 200);
});

test('one whose client has left takes no turn, and what is to happen then still does', async (t) => {
  const advance = stopClock(t);
  const pace = new RefusalPace(() => false);
  const record: RequestRecord = { startedAt: 0 };
  const closes: boolean[] = [];
  record.onClose = (wasSent) => closes.push(wasSent);
  turns(pace, 100);
  let went = false;
  void pace.turn(record, Number.POSITIVE_INFINITY).then(() => (went = true));
  const others = turns(pace, 20);
  record.onClose(false);
  await advance(0);
  assert.deepEqual([went, closes], [true, [false]]);
  await advance(200);
  assert.equal(others.sent, 20);
});

test('refusals are logged as a count a second for each model and code', async (t) => {
  const advance = stopClock(t);
  const lines: object[] = [];
  const log = new RefusalLog(pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) }));
  for (let n = 0; n < 5; n++) log.add('a', 'overloaded');
  log.add('a', 'queue_full');
  await advance(999);
  assert.deepEqual(lines, []);
  await advance(1);
  const line = { level: 40, msg: 'requests refused' };
  assert.deepEqual(lines, [
    { ...line, model: 'a', code: 'overloaded', count: 5 },
    { ...line, model: 'a', code: 'queue_full', count: 1 },
  ]);
  await advance(3000);
  assert.equal(lines.length, 2);
  log.add('b', 'overloaded');
  log.flush();
  assert.deepEqual(lines.at(-1), { ...line, model: 'b', code: 'overloaded', count: 1 });
  await advance(3000);
  assert.equal(lines.length, 3);
});
