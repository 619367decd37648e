/**
 * The whole service against Python servers of the same network, over HTTP: each with the machine to itself, one after
 * the other, the next round in the reverse order.
 *
 *     python3.11 -m venv PEERS && PEERS/bin/pip install -r bench/peers/requirements.txt
 *     npm run bench:peers -- --python PEERS/bin/python --model vgg16|fashion-vgg
 *         [--connections 1,8,32] [--seconds 20] [--rounds 2] [--peers a,b] [--json]
 *
 * wrk (Debian: wrk) posts one picture as a raw body over kept connections, in a closed loop: test/fixtures/images/rocket.jpg
 * to VGG-16 (weights by formula), a sample of its own to fashion-vgg. Before a server is timed its answer is compared
 * with this service's: the same five classes, the first probability within 1e-3. A row sums its rounds; its percentiles
 * are the mean of theirs. Memory is the largest PSS of all the server's processes, in 10^6 bytes. With --json a line
 * for each row, and nothing else on stdout.
 */
import { parseArgs } from 'node:util';
import { type Answer, difference } from './answer.js';
import type { ProcessTree } from './process-tree.js';
import { rowsOf, type Seen, table } from './report.js';
import { type ModelName, models, type Server, servers } from './servers.js';
import { pictures, Stage } from './stage.js';
import { load, requireWrk } from './wrk.js';

const memoryEveryMs = 1_000;
/** Not counted: eight connections, so that batches of every size have been seen. */
const warmUp = { connections: 8, seconds: 4 };

const connectionsOf = { vgg16: '1,8,32', 'fashion-vgg': '1,16,64' } as const satisfies Record<ModelName, string>;

const { values } = parseArgs({
  options: {
    python: { type: 'string' },
    model: { type: 'string', default: 'vgg16' },
    connections: { type: 'string' },
    seconds: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '2' },
    peers: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const { python } = values;
if (python === undefined) throw new RangeError('--python is missing: a Python that has bench/peers/requirements.txt');
const model = models.find((name) => name === values.model);
if (model === undefined) throw new RangeError(`--model is one of ${models.join(', ')}, not "${values.model}"`);
const picture = pictures[model];
const connections = (values.connections ?? connectionsOf[model]).split(',').map(Number);
const asked = values.peers?.split(',');
for (const name of asked ?? []) {
  if (servers.some((server) => server.name === name)) continue;
  throw new RangeError(`--peers: "${name}" is none of ${servers.map((server) => server.name).join(', ')}`);
}
const chosen = servers.filter(({ name, isOurs }) => isOurs || (asked?.includes(name) ?? true));

requireWrk();
const stage = await Stage.open(python, model);
try {
  const reference = await stage.with(servers[0] as Server, async ({ answer }) => answer);
  const seen = await measure(reference);
  const rows = connections.flatMap((count) => rowsOf(seen, count, model));
  if (values.json) for (const row of rows) console.log(JSON.stringify(row));
  else console.log(table(rows, `${model}, ${picture.path}, ${values.rounds} rounds of ${values.seconds} s`));
} finally {
  await stage.close();
}

async function measure(reference: Answer): Promise<Map<Server, Seen>> {
  const seen = new Map(chosen.map((server): [Server, Seen] => [server, { loads: new Map(), peakPss: 0 }]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const server of round % 2 === 0 ? chosen : chosen.toReversed()) {
      const of = seen.get(server);
      if (!of) continue;
      try {
        await stage.with(server, async ({ url, answer, tree }) => {
          const wrong = difference(answer, reference, server.isExact);
          if (wrong !== undefined) throw new Error(wrong);
          await measureOne(url, of, tree);
        });
      } catch (error) {
        seen.delete(server);
        console.error(`SKIPPED ${server.name}: ${(error as Error).message}`);
      }
    }
  }
  return seen;
}

/** All numbers of connections, one after the other. */
async function measureOne(url: string, of: Seen, tree: ProcessTree): Promise<void> {
  await load(url, picture, warmUp.connections, warmUp.seconds);
  const watch = setInterval(() => {
    of.peakPss = Math.max(of.peakPss, tree.pss());
  }, memoryEveryMs);
  try {
    for (const count of connections) {
      await stage.ask(url); // Answered after whatever the load before has left in the queue.
      const seen = await load(url, picture, count, Number(values.seconds));
      of.loads.set(count, [...(of.loads.get(count) ?? []), seen]);
    }
  } finally {
    clearInterval(watch);
  }
}
