import assert from 'node:assert/strict';
import test from 'node:test';
import { createMetrics } from '../src/metrics.js';

test('createMetrics() keeps two sets apart', async () => {
  const [one, other] = [createMetrics(), createMetrics()];
  one.inFlight.inc();
  assert.match(await one.registry.metrics(), /^vgg_serve_requests_in_flight 1$/m);
  assert.match(await other.registry.metrics(), /^vgg_serve_requests_in_flight 0$/m);
});

test('names follow the conventions of Prometheus: base units, _total for counters alone', async () => {
  const { registry } = createMetrics();
  const own = registry.getMetricsAsArray().filter(({ name }) => name.startsWith('vgg_serve_'));
  assert.equal(own.length, 22);
  for (const { name, type, help } of own as unknown as { name: string; type: string; help: string }[]) {
    assert.match(name, /^vgg_serve_[a-z]+(_[a-z]+)*$/);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
    assert.doesNotMatch(name, /_(ms|milliseconds|kb|mb)\b/);
    assert.match(help, /^[0-9A-Z].*\.$/);
  }
});
