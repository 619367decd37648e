/**
 * Restarts under load: two processes of the service behind HAProxy or nginx, as deploy/ configures them; 16 clients send sample
 * pictures without a pause; the processes are restarted in turns (SIGTERM, wait for its end, start, wait until it is
 * ready). No request may fail, and each answer must be the one that was given before the first restart.
 *
 *     npm run rolling -- [--restarts 30] [--proxy haproxy] [--drain-delay-ms 2000] [--connections 16] [--json]
 *
 * Ends with 1 when a request failed or was answered wrongly, or when a process did not end with 0. With --json one line:
 * {requests, failed, wrong, restarts, p99_ms}.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Answer, Connection, requestBytes } from './connection.js';
import { freePort, type Service, startService } from './service.js';

const { values } = parseArgs({
  options: {
    restarts: { type: 'string', default: '30' },
    proxy: { type: 'string', default: 'haproxy' },
    connections: { type: 'string', default: '16' },
    'drain-delay-ms': { type: 'string', default: '2000' },
    json: { type: 'boolean', default: false },
  },
});

if (values.proxy !== 'haproxy' && values.proxy !== 'nginx') throw new RangeError('--proxy is haproxy or nginx');

const root = fileURLToPath(new URL('../../', import.meta.url));
const samples = join(root, 'models/fashion-vgg/samples');
const names = ['a', 'b'] as const;

type Name = (typeof names)[number];

interface Proxy {
  /** Resolves when it sends requests to that process. */
  untilUp(name: Name): Promise<void>;
  /** What else it has seen. */
  remarks(): Promise<string>;
  stop(): Promise<void>;
}

interface Picture {
  readonly request: Buffer;
  /** What the service says of it, without its times. */
  readonly predictions: string;
}

interface Tally {
  requests: number;
  wrong: number;
  readonly failures: Map<string, number>;
  readonly latencies: number[];
}

const say = (line: string) => void (values.json || console.log(line));
const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-rolling-'));
const ports = await Promise.all(names.map(() => freePort()));
const services: Service[] = [];
let proxy: Proxy | undefined;
try {
  const start = (at: number) =>
    startService(
      ['--drain-delay-ms', values['drain-delay-ms'], '--log-level', 'warn'],
      {},
      undefined,
      ports[at] as number,
    );
  for (const at of names.keys()) services.push(await start(at));

  const url = new URL(`http://127.0.0.1:${await freePort()}/classify?top_k=3`);
  proxy = await (values.proxy === 'haproxy' ? startHaproxy(url) : startNginx(url));
  for (const name of names) await proxy.untilUp(name);
  const pictures = await readPictures(url);
  const tally: Tally = { requests: 0, wrong: 0, failures: new Map(), latencies: [] };
  const load = new AbortController();
  const clients = Array.from({ length: Number(values.connections) }, (_, at) =>
    ask(url, pictures, at, tally, load.signal),
  );

  const exitCodes: (number | null)[] = [];
  for (let restart = 0; restart < Number(values.restarts); restart++) {
    const at = restart % 2;
    const seen = tally.requests;
    exitCodes.push(await (services[at] as Service).stop());
    services[at] = await start(at);
    await proxy.untilUp(names[at] as Name);
    say(
      `restart ${restart + 1}: process ${names[at]} ended with ${exitCodes.at(-1)}; ${tally.requests - seen} requests meanwhile`,
    );
  }
  load.abort();
  await Promise.all(clients);
  report(tally, exitCodes);
  say(await proxy.remarks());
} finally {
  await proxy?.stop();
  await Promise.all(services.map((service) => service.stop()));
  await rm(folder, { recursive: true });
}

function report({ requests, wrong, failures, latencies }: Tally, exitCodes: readonly (number | null)[]): void {
  const failed = [...failures.values()].reduce((sum, count) => sum + count, 0);
  const sorted = latencies.sort((a, b) => a - b);
  const p99 = sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.NaN;
  const result = { requests, failed, wrong, restarts: exitCodes.length, p99_ms: Math.round(p99 * 10) / 10 };
  if (values.json) console.log(JSON.stringify(result));
  else console.log(`${requests} requests, ${failed} failed, ${wrong} wrong, p99 ${result.p99_ms} ms`);
  for (const [reason, count] of failures) console.error(`${count} times: ${reason}`);
  const badEnds = exitCodes.filter((code) => code !== 0);
  if (badEnds.length > 0) console.error(`processes ended with ${badEnds.join(', ')}`);
  if (failed + wrong + badEnds.length > 0 || requests === 0) process.exitCode = 1;
}

/** One client: a kept-alive connection, a request as soon as the last one is answered, the pictures in turns. */
async function ask(url: URL, pictures: readonly Picture[], first: number, tally: Tally, stop: AbortSignal) {
  let connection: Connection | undefined;
  for (let at = first; !stop.aborted; at++) {
    const picture = pictures[at % pictures.length] as Picture;
    const startedAt = performance.now();
    tally.requests++;
    try {
      if (!connection?.isOpen) connection = await Connection.open(url);
      const answer = await connection.exchange(picture.request);
      tally.latencies.push(performance.now() - startedAt);
      if (answer.status !== 200) fail(`${answer.status} ${answer.body.toString().slice(0, 200)}`);
      else if (predictionsOf(answer) !== picture.predictions) tally.wrong++;
    } catch (error) {
      fail((error as Error).message);
    }
  }
  connection?.destroy();

  function fail(reason: string): void {
    tally.failures.set(reason, (tally.failures.get(reason) ?? 0) + 1);
  }
}

async function readPictures(url: URL): Promise<Picture[]> {
  const connection = await Connection.open(url);
  const pictures: Picture[] = [];
  for (const name of (await readdir(samples)).filter((file) => file.endsWith('.png'))) {
    const request = requestBytes(url, 'image/png', await readFile(join(samples, name)));
    pictures.push({ request, predictions: predictionsOf(await connection.exchange(request)) });
  }
  connection.destroy();
  return pictures;
}

function predictionsOf({ body }: Answer): string {
  const { results } = JSON.parse(body.toString()) as { results: { predictions: unknown }[] };
  return JSON.stringify(results[0]?.predictions);
}

async function startHaproxy(url: URL): Promise<Proxy> {
  const socket = join(folder, 'haproxy.sock');
  const { run, stop } = spawnProxy('haproxy', ['-db', '-q', '-f', join(root, 'deploy/haproxy.cfg')], {
    HAPROXY_BIND: url.host,
    HAPROXY_SOCKET: socket,
    HAPROXY_CHECK_INTERVAL: '200ms',
    HAPROXY_CHECK_AGAIN: '100ms',
    HAPROXY_SERVER_A: `127.0.0.1:${ports[0]}`,
    HAPROXY_SERVER_B: `127.0.0.1:${ports[1]}`,
  });
  return {
    untilUp: (name) =>
      run(async () => new RegExp(`^vgg-serve,${name},(?:[^,]*,){15}UP,`, 'm').test(await haproxyStats(socket))),
    remarks: async () => 'haproxy: nothing was sent twice (retries 0)',
    stop,
  };
}

async function haproxyStats(path: string): Promise<string> {
  const socket = connect(path);
  await once(socket, 'connect');
  socket.write('show stat\n');
  return await text(socket);
}

async function startNginx(url: URL): Promise<Proxy> {
  const config = (await readFile(join(root, 'deploy/nginx.conf'), 'utf8'))
    .replaceAll('127.0.0.1:8080', url.host)
    .replaceAll('127.0.0.1:8081', `127.0.0.1:${ports[0]}`)
    .replaceAll('127.0.0.1:8082', `127.0.0.1:${ports[1]}`)
    .replaceAll('/tmp/', `${folder}/`);
  const path = join(folder, 'nginx.conf');
  await writeFile(path, config);
  const { run, stop } = spawnProxy('nginx', ['-e', 'stderr', '-c', path], {});
  return {
    untilUp: () => run(async () => (await fetch(new URL('/health/ready', url))).ok),
    async remarks() {
      const lines = (await readFile(join(folder, 'vgg-serve-nginx.log'), 'utf8')).split('\n').filter(Boolean);
      const refused = lines.filter((line) => line.includes('"502, ') && line.includes('"-, ')).length;
      const notReady = lines.filter((line) => line.includes('"503, ')).length;
      const broken = lines.length - refused - notReady;
      return `nginx: passed on ${refused} that were refused a connection, ${notReady} answered with 503, ${broken} that broke`;
    },
    stop,
  };
}

function spawnProxy(program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
  const child: ChildProcess = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(child, 'exit');
  return {
    /** Until the condition holds; what it throws counts as no. */
    async run(condition: () => Promise<boolean>): Promise<void> {
      while (!(await condition().catch(() => false))) {
        if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
        await sleep(20);
      }
    },
    async stop(): Promise<void> {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
