import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { verbHelp } from '../../src/cli/help.js';
import { type Verb, verbs } from '../../src/options.js';
import { run } from './command.js';

test('vgg-serve --help: lists the verbs', async () => {
  const { code, stdout, stderr } = await run(['--help']);
  assert.equal(code, 0);
  assert.match(stdout, /^Usage: vgg-serve \[VERB\] \[OPTION\.\.\.\]\n/);
  for (const [verb, { summary }] of Object.entries(verbs))
    assert.ok(stdout.includes(`  ${verb.padEnd(26)}${summary}\n`));
  assert.equal(stderr, '');
});

test('vgg-serve <verb> --help: prints the help of the verb, whatever else is given', async () => {
  const runs = (Object.keys(verbs) as Verb[]).map(async (verb) => {
    assert.deepEqual(await run([verb, '--frobnicate', '--help']), { code: 0, stdout: verbHelp(verb), stderr: '' });
  });
  await Promise.all(runs);
});

test('vgg-serve --version: prints that of package.json', async () => {
  const { version } = JSON.parse(await readFile(new URL('../../../package.json', import.meta.url), 'utf8'));
  assert.deepEqual(await run(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
});

test('vgg-serve with wrong use: ends with 2 and says what is wrong', async (t) => {
  const cases: [string[], string][] = [
    [['clasify', 'a.png'], '"clasify" is not a verb: did you mean classify?'],
    [['a.png'], `"a.png" is not a verb: give one of ${Object.keys(verbs).join(', ')}`],
    [['--prot', '1'], '--prot is not an option of serve: did you mean --port?'],
    [['serve', '--port', 'http'], '--port: "http" is not allowed: give a whole number from 0 to 65535'],
    [['classify'], 'classify needs PICTURE...: see "vgg-serve classify --help"'],
    [['classify', '--', '--help'], 'there is no model "no/such": '],
    [['serve'], 'there is no model "no/such": '],
  ];
  for (const [args, message] of cases) {
    await t.test(args.join(' '), async () => {
      const { code, stdout, stderr } = await run(args, { VGG_SERVE_MODEL: 'no/such' });
      assert.ok(stderr.startsWith(`vgg-serve: ${message}`), stderr);
      assert.deepEqual({ code, stdout }, { code: 2, stdout: '' });
    });
  }
});
