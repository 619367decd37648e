import assert from 'node:assert/strict';
import test from 'node:test';
import { loadDisplay } from '../../src/cli/load-display.js';
import type { ProgressDisplay } from '../../src/cli/progress.js';

function shown() {
  const events: string[] = [];
  const display = loadDisplay((): ProgressDisplay => {
    events.push('open');
    return {
      update: ({ file, receivedBytes, totalBytes }) => events.push(`${file} ${receivedBytes} of ${totalBytes}`),
      log: (line) => events.push(line),
      end: () => events.push('end'),
    };
  });
  return { display, events };
}

test('loadDisplay: a bar for each file that is fetched, which ends with the fetch', () => {
  const { display, events } = shown();
  for (const model of ['vgg16', 'vgg19']) {
    display.stateChanged(model, 'loading');
    display.loadProgress(model, { step: 'fetching' });
    display.loadProgress(model, { step: 'fetching', receivedBytes: 1, totalBytes: 2 });
    display.loadProgress(model, { step: 'fetching', receivedBytes: 2, totalBytes: 2 });
    display.loadProgress(model, { step: 'checking' });
    display.loadProgress(model, { step: 'starting' });
    display.stateChanged(model, 'ready');
  }
  const fetch = (model: string) => ['open', `${model} 1 of 2`, `${model} 2 of 2`, 'end'];
  assert.deepEqual(events, [...fetch('vgg16'), ...fetch('vgg19')]);
});

test('loadDisplay: a file that is here already shows none, and a fetch that fails ends its own', () => {
  const { display, events } = shown();
  display.stateChanged('vgg16', 'loading');
  display.loadProgress('vgg16', { step: 'fetching' });
  display.loadProgress('vgg16', { step: 'checking' });
  assert.deepEqual(events, []);
  display.loadProgress('vgg19', { step: 'fetching', receivedBytes: 1, totalBytes: 2 });
  display.stateChanged('vgg19', 'failed', new Error('no network'));
  assert.deepEqual(events, ['open', 'vgg19 1 of 2', 'end']);
});
