import assert from 'node:assert/strict';
import test from 'node:test';
import { createMetrics } from '../../src/metrics.js';
import { registryMetrics } from '../../src/registry-metrics.js';
import { png, startService } from './service.js';

const red = await png('#e00000');

test('GET /metrics after requests', async (t) => {
  const { http } = await startService(t);
  await http.post('/classify').attach('image', red, 'a.png').attach('image', red, 'b.png');
  await http.post('/classify?model=invented-by-the-client').attach('image', red, 'a.png');
  await http.get('/invented-by-the-client');
  const { status, headers, text } = await http.get('/metrics');
  assert.equal(status, 200);
  assert.match(headers['content-type'] ?? '', /^text\/plain; version=0\.0\.4/);
  for (const line of [
    'vgg_serve_requests_total{route="/classify",model="colours",status="200"} 1',
    'vgg_serve_requests_total{route="/classify",model="",status="404"} 1',
    'vgg_serve_requests_total{route="",model="",status="404"} 1',
    'vgg_serve_errors_total{model="",code="unknown_model"} 1',
    'vgg_serve_errors_total{model="",code="not_found"} 1',
    'vgg_serve_decode_seconds_count{model="colours"} 2',
    'vgg_serve_queue_wait_seconds_count{model="colours"} 2',
    'vgg_serve_batch_size_sum{model="colours"} 2',
    'vgg_serve_request_duration_seconds_count{route="/classify",model="colours"} 1',
    'vgg_serve_requests_in_flight 1',
    'vgg_serve_queue_depth{model="colours"} 0',
    'vgg_serve_model_state{model="colours",state="ready"} 1',
    'vgg_serve_model_state{model="colours",state="loading"} 0',
    'vgg_serve_model_info{model="colours",engine="onnxruntime",engine_version="0",device="cpu",device_name="",precision="fp32",isa=""} 1',
    'vgg_serve_engine_restarts_total{model="colours",reason="killed"} 0',
    'vgg_serve_engine_restarts_total{model="colours",reason="garbage"} 0',
    'vgg_serve_engine_up{model="colours"} 0', // Of its own making: it has no process.
  ]) {
    assert.ok(text.includes(`${line}\n`), `${line}\n${text}`);
  }
  assert.match(text, /^vgg_serve_compute_seconds_sum\{model="colours"\} 0\.00(15|3)$/m);
  assert.match(text, /^vgg_serve_model_load_seconds\{model="colours"\} 0\.\d+$/m);
  assert.match(text, /^process_cpu_seconds_total /m);
  assert.doesNotMatch(text, /invented/);
});

test('GET /metrics tells what a model runs on only while it is ready', async (t) => {
  const { http, registry } = await startService(t);
  const infos = async () => (await http.get('/metrics')).text.match(/^vgg_serve_model_info\{.*$/gm)?.length ?? 0;
  assert.equal(await infos(), 1);
  await registry.unload('colours');
  assert.equal(await infos(), 0);
  await registry.load('colours');
  assert.equal(await infos(), 1);
});

test('registryMetrics: how far a model of another precision is from fp32, while it is ready', async () => {
  const metrics = createMetrics();
  const observer = registryMetrics(metrics);
  const info = { engine: 'native', version: '1', device: 'cpu', precision: 'bf16', isa: 'amx', threads: 2 } as const;
  const times = { locate: 0, index: 0, convert: 0, engineStart: 0, warmUp: 0, hash: 0, total: 1000 };
  const series = async () => (await metrics.registry.metrics()).match(/^vgg_serve_model_(agreement|probab|info).*$/gm);
  observer.loaded('a@bf16', info, times, {
    ...{ pictures: 20, skipped: 0, from: 'here', top1: 0.95 },
    ...{ largest_probability_difference: 0.01, largest_logit_difference_relative: 0.02 },
  });
  observer.stateChanged('a@bf16', 'ready');
  assert.deepEqual(await series(), [
    'vgg_serve_model_info{model="a@bf16",engine="native",engine_version="1",device="cpu",device_name="",precision="bf16",isa="amx"} 1',
    'vgg_serve_model_agreement_ratio{model="a@bf16"} 0.95',
    'vgg_serve_model_probability_difference{model="a@bf16"} 0.01',
  ]);
  observer.stateChanged('a@bf16', 'unloaded');
  assert.equal(await series(), null);
  observer.loaded('a@bf16', info, times, new Error('no memory'));
  assert.equal((await series())?.length, 1);
});
