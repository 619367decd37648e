import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gate } from '../../src/preprocessing/gate.js';

/** A task that the test lets go on. */
function held() {
  let end = (_error?: unknown) => {};
  let isRunning = false;
  const ended = new Promise<string>((resolve, reject) => {
    end = (error) => (error === undefined ? resolve('done') : reject(error));
  });
  const task = () => {
    isRunning = true;
    return ended;
  };
  return { task, end: (error?: unknown) => end(error), isRunning: () => isRunning };
}

test('Gate.run: no more at a time than it lets in, first come first served', async () => {
  const gate = new Gate(2);
  const tasks = Array.from({ length: 5 }, held);
  const answers = tasks.map(({ task }) => gate.run(task));
  const running = () => tasks.map(({ isRunning }) => isRunning());
  assert.deepEqual(running(), [true, true, false, false, false]);
  tasks[1]?.end();
  await answers[1];
  await new Promise(setImmediate);
  assert.deepEqual(running(), [true, true, true, false, false]);
  const last = held();
  const lastAnswer = gate.run(last.task);
  for (const { end } of tasks) end();
  last.end();
  assert.deepEqual(await Promise.all([...answers, lastAnswer]), Array(6).fill('done'));
});

test('Gate.run: one that comes at the moment of a change does not slip in', async () => {
  const gate = new Gate(1);
  const [first, second, third] = [held(), held(), held()];
  const firstAnswer = gate.run(first.task);
  const secondAnswer = gate.run(second.task);
  first.end();
  await firstAnswer;
  const thirdAnswer = gate.run(third.task);
  await new Promise(setImmediate);
  assert.deepEqual([second.isRunning(), third.isRunning()], [true, false]);
  second.end();
  third.end();
  await Promise.all([secondAnswer, thirdAnswer]);
});

test('Gate.run: a task that fails makes room', async () => {
  const gate = new Gate(1);
  const failing = held();
  const failed = assert.rejects(gate.run(failing.task), /Out of luck/);
  const next = gate.run(async () => 'next');
  failing.end(new Error('Out of luck.'));
  await failed;
  assert.equal(await next, 'next');
});

test('Gate.run: aborted before it is called', async () => {
  const { task, isRunning } = held();
  await assert.rejects(new Gate(1).run(task, AbortSignal.abort()), { code: 'client_closed_request' });
  assert.equal(isRunning(), false);
});

test('Gate.run: aborted while it waits, it never runs', async () => {
  const gate = new Gate(1);
  const controller = new AbortController();
  const [first, waiting] = [held(), held()];
  const running = gate.run(first.task);
  const aborted = assert.rejects(gate.run(waiting.task, controller.signal), { code: 'client_closed_request' });
  const last = gate.run(async () => 'last');
  controller.abort();
  await aborted;
  first.end();
  assert.deepEqual(await Promise.all([running, last]), ['done', 'last']);
  assert.equal(waiting.isRunning(), false);
});

test('Gate.run: aborted while it runs, it comes to its end', async () => {
  const gate = new Gate(1);
  const controller = new AbortController();
  const { task, end } = held();
  const running = gate.run(task, controller.signal);
  controller.abort();
  end();
  assert.equal(await running, 'done');
});

test('Gate.run: the listener is taken off the signal', async (t) => {
  const gate = new Gate(1);
  const { signal } = new AbortController();
  let listeners = 0;
  t.mock.method(signal, 'addEventListener', () => listeners++);
  t.mock.method(signal, 'removeEventListener', () => listeners--);
  const first = held();
  const running = gate.run(first.task, signal);
  const waiting = gate.run(async () => 'next', signal);
  assert.equal(listeners, 1);
  first.end();
  await Promise.all([running, waiting]);
  assert.equal(listeners, 0);
});

test('Gate.close: what waits is refused, what runs is answered, then nothing more is taken', async () => {
  const gate = new Gate(1);
  const first = held();
  const running = gate.run(first.task);
  const waiting = assert.rejects(gate.run(held().task), { code: 'shutting_down' });
  gate.close();
  await waiting;
  first.end();
  assert.equal(await running, 'done');
  await assert.rejects(gate.run(held().task), { code: 'shutting_down' });
});
