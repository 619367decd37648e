import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { writeFormulaWeights } from '../../bench/formula-weights.js';
import { childrenOf, memoryOf } from '../../bench/memory.js';
import { type Service, startService } from '../../bench/service.js';
import { buildArchitecture, builderArchitecture } from '../../src/model-registry/architecture.js';

const root = new URL('../../../', import.meta.url);
const samples = ['ankle-boot', 'bag'].map((name) =>
  fileURLToPath(new URL(`models/fashion-vgg/samples/${name}.png`, root)),
);
const photographs = ['rocket', 'coffee', 'astronaut'].map((name) =>
  fileURLToPath(new URL(`test/fixtures/images/${name}.jpg`, root)),
);

const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-tfjs-'));
const weights = join(folder, 'vgg16.safetensors');
const tokenFile = join(folder, 'token');
const token = randomBytes(16).toString('hex');
before(async () => {
  await writeFormulaWeights(buildArchitecture(builderArchitecture('vgg16', 1000)), weights);
  writeFileSync(tokenFile, token, { mode: 0o600 });
});
after(() => rmSync(folder, { recursive: true }));

interface Answer {
  readonly results: readonly {
    readonly predictions: readonly { readonly index: number; readonly probability: number }[];
  }[];
}

async function classify(
  service: Service,
  model: string,
  file: string,
): Promise<Answer['results'][number]['predictions']> {
  const response = await fetch(`${service.url}/classify?model=${model}`, {
    method: 'POST',
    body: readFileSync(file),
    headers: { 'content-type': 'application/octet-stream' },
  });
  assert.equal(response.status, 200);
  const { results } = (await response.json()) as Answer;
  return results[0]?.predictions ?? [];
}

/** A service of VGG-16 and the embedded model, on the CPU. */
async function serving(engine: string, work: (service: Service) => Promise<void>): Promise<void> {
  const models = ['--model', 'fashion-vgg', '--model', `vgg16=${weights}`];
  const rest = ['--cache-dir', folder, '--log-level', 'warn', '--admin-token-file', tokenFile, '--max-batch-size', '4'];
  const service = await startService(['--engine', engine, '--device', 'cpu', ...models, ...rest]);
  try {
    await work(service);
  } finally {
    assert.equal(await service.stop(), 0);
  }
}

describe('the service on TensorFlow', () => {
  test('the same top-5 as from onnxruntime, and probabilities within 1e-4', async (t) => {
    const asked = [...samples.map((file) => ['fashion-vgg', file]), ...photographs.map((file) => ['vgg16', file])] as [
      string,
      string,
    ][];
    const answers = new Map<string, Answer['results'][number]['predictions'][]>();
    for (const engine of ['tfjs', 'onnxruntime']) {
      await serving(engine, async (service) => {
        const listed = (await (await fetch(`${service.url}/models/vgg16`)).json()) as Record<string, unknown>;
        assert.deepEqual([listed.engine, listed.device, listed.precision], [engine, 'cpu', 'fp32']);
        const got = [];
        for (const [model, file] of asked) got.push(await classify(service, model, file));
        answers.set(engine, got);
      });
    }
    let largest = 0;
    answers.get('tfjs')?.forEach((predictions, which) => {
      const other = answers.get('onnxruntime')?.[which] ?? [];
      assert.equal(predictions.length, 5);
      assert.deepEqual(
        predictions.map(({ index }) => index),
        other.map(({ index }) => index),
        asked[which]?.[1],
      );
      predictions.forEach(({ probability }, rank) => {
        largest = Math.max(largest, Math.abs(probability - (other[rank]?.probability ?? Number.NaN)));
      });
    });
    t.diagnostic(`largest difference of a probability: ${largest.toExponential(1)}`);
    assert.ok(largest <= 1e-4);
  });

  test('unloaded and loaded ten times: the server keeps its size, each process ends', async (t) => {
    await serving('tfjs', async (service) => {
      const post = async (path: string) => {
        const response = await fetch(service.url + path, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}` },
        });
        assert.ok(response.ok, await response.text());
      };
      const file = photographs[0] as string;
      for (let warm = 0; warm < 30; warm++) await classify(service, 'vgg16', file);
      const children = childrenOf(service.pid).length;
      const resident: number[] = [];
      for (let round = 0; round < 10; round++) {
        await post('/models/vgg16/unload');
        assert.equal(childrenOf(service.pid).length, children - 1);
        await post('/models/vgg16/load');
        await classify(service, 'vgg16', file);
        resident.push(memoryOf(service.pid).rss / 1e6);
      }
      t.diagnostic(`server, resident MB: ${resident.map((mb) => mb.toFixed(0)).join(', ')}`);
      assert.ok((resident.at(-1) ?? 0) < 1.15 * (resident[0] ?? 0));
    });
  });
});
