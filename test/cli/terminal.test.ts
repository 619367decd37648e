import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { Terminal } from '../../src/cli/terminal.js';

/** A person who types the next of some lines at each prompt, and ends the input when there are no more. */
function person(...answers: string[]) {
  const input = new PassThrough();
  const output = new PassThrough({ encoding: 'utf8' });
  let shown = '';
  output.on('data', (text: string) => {
    shown += text;
    if (!text.endsWith(']: ')) return;
    const answer = answers.shift();
    if (answer === undefined) input.end();
    else input.write(`${answer}\n`);
  });
  return { terminal: new Terminal(input, output), shown: () => shown };
}

test('Terminal.ask: what the answer means, and nothing for an empty one', async () => {
  const { terminal, shown } = person(' 12 ', '');
  assert.equal(await terminal.ask('How many', '3', Number), 12);
  assert.equal(await terminal.ask('How many', '3', Number), undefined);
  assert.equal(shown(), 'How many [3]: How many [3]: ');
  terminal.close();
});

test('Terminal.ask: shows what is wrong with an answer and asks again', async () => {
  const { terminal, shown } = person('one', '1');
  const read = async (answer: string) => {
    if (answer === 'one') throw new Error('digits only');
    return answer;
  };
  assert.equal(await terminal.ask('How many', '3', read), '1');
  assert.equal(shown(), 'How many [3]:   digits only\nHow many [3]: ');
  terminal.close();
});

test('Terminal.ask: the input ends', async () => {
  const { terminal } = person('1');
  await terminal.ask('How many', '3', Number);
  const ended = { name: 'UnansweredError', message: /nothing was written$/ };
  await assert.rejects(terminal.ask('How many', '3', Number), ended);
  await assert.rejects(terminal.ask('How many', '3', Number), ended);
});
