import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../src/config.js';
import { isAddonBuilt } from '../src/engines/native/addon.js';
import { probeNative } from '../src/engines/native/probe.js';
import type { ModelDescription } from '../src/model-registry/description.js';
import { type RunningServer, startServer } from '../src/server.js';

const samples = fileURLToPath(new URL('../../models/fashion-vgg/samples/', import.meta.url));
const native = isAddonBuilt() ? await probeNative() : undefined;

async function start(t: TestContext, ...options: string[]): Promise<RunningServer> {
  const server = await startServer(parseConfig(['--port', '0', '--log-level', 'silent', ...options], {}, 'serve'));
  t.after(() => server.close());
  await server.loaded;
  return server;
}

async function classify({ url }: RunningServer, model: string, picture = 'bag.png') {
  const body = await readFile(join(samples, picture));
  const headers = { 'content-type': 'image/png' };
  const answer = await fetch(`${url}/classify?model=${model}&top_k=1`, { method: 'POST', headers, body });
  return {
    status: answer.status,
    body: (await answer.json()) as {
      model: string;
      precision: string;
      results: [{ predictions: [{ label: string; probability: number }] }];
    },
  };
}

async function describe({ url }: RunningServer, model: string): Promise<ModelDescription> {
  return (await (await fetch(`${url}/models/${model}`)).json()) as ModelDescription;
}

/** How much of the largest logit a precision may be off; of a small network, and on its own pictures. */
const tolerances = { bf16: 2.5e-2, 'bf16-classifier': 1e-2 } as const;

for (const [precision, tolerance] of Object.entries(tolerances) as ['bf16' | 'bf16-classifier', number][]) {
  const can = native?.[precision] ?? { why: 'the addon is not built' };
  const why = 'why' in can ? can.why : false;

  test(`fashion-vgg and fashion-vgg@${precision} side by side: two models, and how far they are apart`, {
    skip: why,
  }, async (t) => {
    const server = await start(t, '--model', 'fashion-vgg', '--model', `fashion-vgg@${precision}`);
    const plain = await classify(server, 'fashion-vgg');
    const other = await classify(server, `fashion-vgg@${precision}`);
    assert.deepEqual([plain.body.model, plain.body.precision], ['fashion-vgg', 'fp32']);
    assert.deepEqual([other.body.model, other.body.precision], [`fashion-vgg@${precision}`, precision]);
    const [seen, expected] = [other, plain].map(({ body }) => body.results[0].predictions[0]);
    assert.equal(seen?.label, 'Bag');
    assert.notEqual(seen?.probability, expected?.probability, 'it is computed otherwise');
    assert.ok(Math.abs((seen?.probability ?? 0) - (expected?.probability ?? 0)) < 0.05);

    const about = await describe(server, `fashion-vgg@${precision}`);
    assert.deepEqual([about.engine, about.precision], ['native', precision]);
    assert.ok('isas' in can && can.isas.some((isa) => isa === about.isa), String(about.isa));
    const { agreement, plan, layers } = about;
    assert.deepEqual([agreement?.pictures, agreement?.skipped, agreement?.from], [20, 0, "the model's own samples"]);
    assert.ok((agreement?.top1 ?? 0) >= 0.9, JSON.stringify(agreement));
    const off = agreement?.largest_logit_difference_relative ?? Number.NaN;
    assert.ok(off > 0 && off <= tolerance, String(off));
    const names = layers.map(({ name }) => name);
    for (const { layer } of plan ?? []) assert.ok(layer === null || names.includes(layer), String(layer));
    assert.ok(plan?.some(({ layer }) => layer === names.at(-1)));
    assert.equal((await describe(server, 'fashion-vgg')).agreement, null);

    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    assert.ok(metrics.includes(`model="fashion-vgg@${precision}",engine="native"`), metrics);
    assert.match(metrics, new RegExp(`^vgg_serve_model_agreement_ratio\\{model="fashion-vgg@${precision}"\\} `, 'm'));
  });

  test(`--precision ${precision} with --agreement none: the name is as it was, and nothing is compared`, {
    skip: why,
  }, async (t) => {
    const server = await start(t, '--precision', precision, '--agreement', 'none');
    const about = await describe(server, 'fashion-vgg');
    assert.deepEqual([about.precision, about.agreement], [precision, null]);
    assert.equal((await classify(server, `fashion-vgg@${precision}`)).body.model, 'fashion-vgg');
    assert.equal((await classify(server, 'fashion-vgg@fp32')).status, 404);
  });

  test(`fashion-vgg@${precision} where it does not run: not ready, with the reason, and never fp32 in its place`, {
    skip: why === false && 'it runs here',
  }, async (t) => {
    const server = await start(t, '--model', `fashion-vgg@${precision}`);
    assert.equal((await classify(server, `fashion-vgg@${precision}`)).status, 503);
    const { state, reason } = await describe(server, `fashion-vgg@${precision}`);
    assert.equal(state, 'failed');
    assert.match(reason ?? '', new RegExp(precision));
    assert.match(reason ?? '', /npm run build|take (precision )?fp32/);
  });
}

test('fashion-vgg@bf16 on onnxruntime: not ready, with the reason', async (t) => {
  const server = await start(t, '--engine', 'onnxruntime', '--model', 'fashion-vgg@bf16');
  const ready = await fetch(`${server.url}/health/ready`);
  assert.equal(ready.status, 503);
  const { detail } = (await ready.json()) as { detail: string };
  assert.match(detail, /^fashion-vgg@bf16 is failed: Precision bf16 is to be had from the native engine only/);
});

for (const isa of native && 'isas' in native.fp32 ? native.fp32.isas : []) {
  test(`--isa ${isa}: that one, and the answer is the same but for rounding`, async (t) => {
    const server = await start(t, '--isa', isa);
    assert.equal((await describe(server, 'fashion-vgg')).isa, isa);
    const [{ label, probability }] = (await classify(server, 'fashion-vgg')).body.results[0].predictions;
    assert.equal(label, 'Bag');
    assert.ok(Math.abs(probability - 0.9192) < 1e-3, String(probability));
  });
}

test('--isa that this machine lacks: not ready, with the reason', {
  skip: !native && 'the addon is not built',
}, async (t) => {
  const foreign = process.arch === 'arm64' ? 'avx2' : 'neon';
  const server = await start(t, '--isa', foreign);
  const { state, reason } = await describe(server, 'fashion-vgg');
  assert.equal(state, 'failed');
  assert.match(reason ?? '', new RegExp(`"${foreign}" is not to be had here; there are: \\w+`));
});
