/**
 * Load on the embedded model over HTTP: requests per second, latency, and the batch sizes that came of it.
 *
 *     npm run bench:http -- [--connections 1,32] [--seconds 20]
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import { machineLines } from './machine.js';
import { type Service, startService } from './service.js';

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '1,32' },
    seconds: { type: 'string', default: '20' },
    picture: { type: 'string', default: 'models/fashion-vgg/samples/ankle-boot.png' },
  },
});
const seconds = Number(values.seconds);
const picture = await readFile(values.picture);

console.log(machineLines(['fastify', 'onnxruntime-node', 'sharp', 'autocannon']));
console.log(
  `picture: ${values.picture}, ${picture.length} bytes, raw body, keep-alive, closed loop, ${seconds} s a row\n`,
);
console.log(
  '| connections | requests | errors | not 2xx | req/s | p50 ms | p97.5 ms | p99 ms | mean batch | share of pictures in batches > 1 |',
);
console.log('|---|---|---|---|---|---|---|---|---|---|');

const service = await startService(['--log-level', 'warn']);
try {
  await load(8, 3);
  for (const connections of values.connections.split(',').map(Number)) {
    const before = await batchSizes(service);
    const result = await load(connections, seconds);
    const after = await batchSizes(service);
    const batches = after.batches - before.batches;
    const pictures = after.pictures - before.pictures;
    const alone = after.alone - before.alone;
    console.log(
      `| ${connections} | ${result.requests.total} | ${result.errors + result.timeouts} | ${result.non2xx} | ${result.requests.average.toFixed(0)} | ` +
        `${result.latency.p50} | ${result.latency.p97_5} | ${result.latency.p99} | ${(pictures / batches).toFixed(2)} | ${((100 * (pictures - alone)) / pictures).toFixed(1)} % |`,
    );
    if (result.errors + result.timeouts + result.non2xx > 0) process.exitCode = 1;
  }
} finally {
  await service.stop();
}

function load(connections: number, duration: number): Promise<autocannon.Result> {
  return autocannon({
    url: `${service.url}/classify`,
    method: 'POST',
    headers: { 'content-type': 'image/png' },
    body: picture,
    connections,
    duration,
  });
}

/** From the histogram vgg_serve_batch_size: batches, pictures in them, and pictures that travelled alone. */
async function batchSizes({ url }: Service): Promise<{ batches: number; pictures: number; alone: number }> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const value = (line: RegExp) => Number(line.exec(text)?.[1] ?? 0);
  return {
    batches: value(/^vgg_serve_batch_size_count\{[^}]*\} (\S+)$/m),
    pictures: value(/^vgg_serve_batch_size_sum\{[^}]*\} (\S+)$/m),
    alone: value(/^vgg_serve_batch_size_bucket\{[^}]*le="1"[^}]*\} (\S+)$/m),
  };
}
