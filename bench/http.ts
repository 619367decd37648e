/**
 * Load on the embedded model over HTTP: requests per second, latency, and the batch sizes that came of it.
 *
 *     npm run bench:http -- [--connections 1,16,32,64] [--seconds 20] [--flags '--log-level info']
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { findLoader } from './load.js';
import { machineLines } from './machine.js';
import { type Service, startService } from './service.js';

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '1,16,32,64' },
    seconds: { type: 'string', default: '20' },
    picture: { type: 'string', default: 'models/fashion-vgg/samples/ankle-boot.png' },
    flags: { type: 'string', default: '--log-level info' },
  },
});
const seconds = Number(values.seconds);
const picture = await readFile(values.picture);
const loader = findLoader();

console.log(machineLines(['fastify', 'onnxruntime-node', 'sharp']));
console.log(
  `picture: ${values.picture}, ${picture.length} bytes, raw body, keep-alive, closed loop by ${loader.name}, ${seconds} s a row, ${values.flags}\n`,
);
console.log(
  '| connections | requests | errors | not 2xx | req/s | p50 ms | p90 ms | p99 ms | mean batch | share of pictures in batches > 1 |',
);
console.log('|---|---|---|---|---|---|---|---|---|---|');

const service = await startService(values.flags.split(' '));
const request = { url: `${service.url}/classify`, contentType: 'image/png', body: picture };
try {
  await loader.load({ ...request, connections: 16, seconds: 4 }); // By then V8 has compiled what a request runs through.
  for (const connections of values.connections.split(',').map(Number)) {
    const before = await batchSizes(service);
    const result = await loader.load({ ...request, connections, seconds });
    const after = await batchSizes(service);
    const batches = after.batches - before.batches;
    const pictures = after.pictures - before.pictures;
    const alone = after.alone - before.alone;
    const latencies = [result.p50, result.p90, result.p99].map((ms) => ms.toFixed(2)).join(' | ');
    console.log(
      `| ${connections} | ${result.requests} | ${result.errors} | ${result.non2xx} | ${result.perSecond.toFixed(0)} | ` +
        `${latencies} | ${(pictures / batches).toFixed(2)} | ${((100 * (pictures - alone)) / pictures).toFixed(1)} % |`,
    );
    if (result.errors + result.non2xx > 0) process.exitCode = 1;
  }
} finally {
  await service.stop();
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
