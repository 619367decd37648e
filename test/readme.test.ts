import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Service, startService } from '../bench/service.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const cli = fileURLToPath(new URL('../src/cli.js', import.meta.url));

interface Block {
  readonly language: string;
  readonly text: string;
}

/** A command of README, and what README shows of its output in the block below it. */
interface Example {
  readonly command: string;
  readonly shown: Block | undefined;
}

test('README: its commands answer what it shows', async (t) => {
  const examples = examplesOf(await readFile(join(root, 'README.md'), 'utf8'));
  const service = await startService(['--log-level', 'silent']);
  t.after(() => service.stop());

  for (const { command, shown } of examples) {
    const tool = /^(curl|base64|vgg-serve)\b/.exec(command)?.[1];
    if (tool === undefined) continue; // npm and docker: what they start is what this test is part of.
    const missing = ['bash', 'curl', 'base64', 'sed'].find((name) => spawnSync('which', [name]).status !== 0);
    await t.test(command, { skip: missing !== undefined && `there is no ${missing} here` }, () => {
      const stdout = runInBash(command, service);
      if (shown?.language === 'json') assertShows(JSON.parse(stdout), JSON.parse(shown.text));
      else if (shown?.language === 'text') assert.equal(stdout, shown.text);
      else assert.ok(JSON.parse(stdout));
    });
  }
});

test('README: every npm script that it names is there', async () => {
  const text = await readFile(join(root, 'README.md'), 'utf8');
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: object };
  const named = new Set([...text.matchAll(/npm (?:run )?(start|test|build|[\w]+:[\w-]+)/g)].map(([, name]) => name));
  assert.ok(named.size >= 4);
  for (const name of named) assert.ok(Object.hasOwn(scripts, name as string), `npm run ${name}`);
});

function examplesOf(readme: string): Example[] {
  const blocks = [...readme.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    text,
  }));
  return blocks.flatMap((block, at) => {
    const next = blocks[at + 1];
    const shown = next?.language === 'sh' ? undefined : next;
    return block.language === 'sh' ? [{ command: block.text.trim(), shown }] : [];
  });
}

function runInBash(command: string, { url }: Service): string {
  const script = `vgg-serve() { '${process.execPath}' '${cli}' "$@"; }\n${command.replaceAll('localhost:8080', new URL(url).host)}`;
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script], { cwd: root, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout;
}

/** The same fields; times differ from run to run, README rounds probabilities, and "..." stands for any text. */
function assertShows(seen: unknown, shown: unknown, place = ''): void {
  if (shown === '...') {
    assert.equal(typeof seen, 'string', place);
  } else if (place.startsWith('.timings_ms.')) {
    assert.ok(typeof seen === 'number' && seen >= 0, place);
  } else if (place.endsWith('.probability')) {
    assert.equal(Number(seen).toFixed(4), Number(shown).toFixed(4), place);
  } else if (typeof shown === 'object' && shown !== null) {
    assert.deepEqual(Object.keys(seen as object), Object.keys(shown), place);
    for (const [key, value] of Object.entries(shown)) assertShows((seen as never)[key], value, `${place}.${key}`);
  } else {
    assert.equal(seen, shown, place);
  }
}
