import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { test } from 'node:test';
import { type Behaviour, serve, startHubServer, status, weightsFile } from '../weights/hub-server.js';
import { run, start, temporaryDir } from './command.js';
import { ownHub } from './hub.js';

const file = weightsFile(3_000_000);
const catalogued = { builder: 'vgg16', file: file.name } as const;

test('vgg-serve pull: fetches with a line for each tenth, says the path, and does it once', async (t) => {
  const dir = await temporaryDir(t);
  const env = await ownHub(dir, catalogued);
  const { origin, requests } = await startHubServer(serve(file));
  const path = join(dir, 'torch/hub/checkpoints', file.name);

  const first = await run(['pull', '--weights-url', `${origin}/mirror`, 'vgg16'], env);
  assert.deepEqual({ code: first.code, stdout: first.stdout }, { code: 0, stdout: `vgg16: ${path}\n` });
  assert.match(first.stderr, new RegExp(`^(vgg-serve: ${file.name}: .*\n)+$`));
  assert.match(first.stderr, /: 100 % \(3\.0 MB of 3\.0 MB\)\n$/);
  assert.equal(requests[0]?.url, `/mirror/${file.name}`);
  assert.deepEqual(await readFile(path), file.bytes);

  const second = await run(['pull', '--offline', 'vgg16'], env);
  assert.deepEqual(second, { code: 0, stdout: `vgg16: ${path} (was there already)\n`, stderr: '' });
  const third = await run(['pull', '--json', 'vgg16:IMAGENET1K_V1', 'fashion-vgg'], env);
  const { results } = JSON.parse(third.stdout);
  assert.deepEqual(results[0], { name: 'vgg16', path, fetched: false });
  assert.deepEqual([results[1].name, results[1].fetched], ['fashion-vgg', false]);
  assert.equal(requests.length, 1);
});

test('vgg-serve pull of several, of which some cannot come: the others do, and it ends with 1', async (t) => {
  const env = await ownHub(await temporaryDir(t), catalogued);
  const { origin } = await startHubServer(status(404), serve(file));
  const args = ['pull', '--weights-url', origin, 'vgg11', 'vgg13:none', 'vgg16'];
  const { code, stdout, stderr } = await run(args, env);
  assert.match(stderr, /^vgg-serve: vgg11: vgg11-8a719046\.pth: .*404/m);
  assert.match(stderr, /^vgg-serve: vgg13:none: has no pretrained weights/m);
  assert.match(stdout, /^vgg16: .*\n$/);
  assert.equal(code, 1);
});

test('vgg-serve pull --offline of what is not there: says which file to put where', async (t) => {
  const dir = await temporaryDir(t);
  const { code, stdout, stderr } = await run(['pull', '--offline', 'vgg16'], { TORCH_HOME: dir });
  assert.match(stderr, /^vgg-serve: vgg16: vgg16-397923af\.pth: .*hub\/checkpoints.*--offline/);
  assert.deepEqual({ code, stdout }, { code: 1, stdout: '' });
});

test('vgg-serve pull of a name that there is not: ends with 2 before anything is fetched', async (t) => {
  const env = await ownHub(await temporaryDir(t), catalogued);
  const { origin, requests } = await startHubServer(serve(file));
  for (const name of ['vgg61', 'vgg16:IMAGENET1K_V3', 'vgg16:IMAGENET1K_FEATURES']) {
    const { code, stderr } = await run(['pull', '--weights-url', origin, 'vgg16', name], env);
    assert.match(stderr, /^vgg-serve: [^\n]*vgg16[^\n]*\n$/, name);
    assert.equal(code, 2);
  }
  assert.equal(requests.length, 0);
});

const onTerminal = "Object.defineProperty(process.stderr, 'isTTY', { value: true }); process.stderr.columns = 200;";
const terminalMethods = `for (const name of ['cursorTo', 'clearLine', 'moveCursor']) process.stderr[name] = () => true;`;

/** A third of the file at once, then a byte now and then: on and on, until the client goes away. */
const dribble: Behaviour = (_, response) => {
  response.writeHead(200, { etag: '"one"', 'content-length': file.bytes.length }).write(file.bytes.subarray(0, 1e6));
  let at = 1e6;
  const timer = setInterval(() => response.write(file.bytes.subarray(at, ++at)), 30);
  response.on('close', () => clearInterval(timer));
};

test('vgg-serve pull on a terminal: a bar with MB, MB/s and the time left; Ctrl-C keeps what has come, and the next call goes on', async (t) => {
  const dir = await temporaryDir(t);
  const env = await ownHub(dir, catalogued, `${onTerminal}\n${terminalMethods}`);
  const { origin, requests } = await startHubServer(dribble, serve(file));
  const args = ['pull', '--weights-url', origin, 'vgg16'];

  const child = start(args, env);
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'close');
  let stderr = '';
  let interrupted = false;
  for await (const chunk of (child.stderr as Readable).setEncoding('utf8')) {
    stderr += chunk;
    if (!interrupted && stderr.includes(' 1.0 of 3.0 MB ')) {
      interrupted = true;
      child.kill('SIGINT');
    }
  }
  assert.match(stderr, new RegExp(`${file.name} \\S+ 1\\.0 of 3\\.0 MB  \\d+\\.\\d MB/s  eta \\S+`));
  const last = stderr.trimEnd().split('vgg-serve: ').at(-1);
  assert.equal(
    last,
    `stopped. The 1.0 MB of ${file.name} that have come are kept: the same command goes on from there.`,
  );
  assert.deepEqual(await ended, [null, 'SIGINT']);

  const again = await run(args, env);
  assert.equal(again.code, 0);
  assert.match(requests[1]?.headers.range ?? '', /^bytes=10000\d\d-$/);
  assert.deepEqual(await readFile(join(dir, 'torch/hub/checkpoints', file.name)), file.bytes);
});
