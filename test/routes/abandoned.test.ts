import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Stage, stages } from '../../src/routes/journey.js';
import { png, queueDepth, type Service, startService } from './service.js';

const red = await png('#e00000');
const timeoutMs = 30_000;
const filePart = '--b\r\ncontent-disposition: form-data; name="a"; filename="f"\r\n\r\n';

/** Where each picture went in the decoder, until its request was given up. */
interface HeldDecoder {
  readonly signals: AbortSignal[];
}

/** The socket of a request that has come to `stage` and stays there. */
async function stuckIn(
  stage: Stage,
  t: TestContext,
): Promise<{ service: Service; socket: Socket; decoder: HeldDecoder }> {
  const decoder: HeldDecoder = { signals: [] };
  const preprocess = (_bytes: Uint8Array, _preset: unknown, signal?: AbortSignal) => {
    if (signal) decoder.signals.push(signal);
    return new Promise<never>(() => {});
  };
  const service = await startService(t, { timeoutMs, maxBatchSize: 1 }, stage === 'decode' ? { preprocess } : {});
  if (stage === 'queue') {
    service.engine.hold();
    const first = send(service, red);
    t.after(() => first.destroy());
    await eventually(() => service.engine.batches.length === 1);
  }
  if (stage === 'engine') service.engine.hold();
  const socket = send(service, stage === 'upload' ? red.subarray(0, 20) : red);
  t.after(() => socket.destroy());
  const isThere = {
    upload: async () => (await heldBytes(service)) === red.length,
    decode: () => decoder.signals.length === 1,
    queue: async () => (await queueDepth(service)) === 1,
    engine: () => service.engine.batches.length === 1,
  } satisfies Record<Stage, () => boolean | Promise<boolean>>;
  await eventually(isThere[stage]);
  return { service, socket, decoder };
}

for (const stage of stages) {
  test(`a client that leaves while its request is in the stage ${stage} costs nothing further`, async (t) => {
    const { service, socket, decoder } = await stuckIn(stage, t);
    socket.destroy();
    await eventually(async () => (await abandoned(service)).length > 0);
    assert.deepEqual(await abandoned(service), [{ model: 'colours', stage, reason: 'client', value: 1 }]);
    await assertNothingLeft(service, decoder, stage);
  });

  test(`a deadline that passes while the request is in the stage ${stage}`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { service, socket, decoder } = await stuckIn(stage, t);
    const answered = once(socket, 'data');
    t.mock.timers.tick(timeoutMs);
    const [answer] = (await answered) as [Buffer];
    assert.match(answer.toString(), /^HTTP\/1\.1 504 .*"code":"deadline_exceeded"/s);
    const counted = (await abandoned(service)).filter((row) => row.stage === stage);
    assert.deepEqual(counted, [{ model: 'colours', stage, reason: 'deadline', value: 1 }]);
    await assertNothingLeft(service, decoder, stage);
  });
}

async function assertNothingLeft(service: Service, decoder: HeldDecoder, stage: Stage): Promise<void> {
  assert.ok(decoder.signals.every((signal) => signal.aborted));
  await eventually(async () => (await heldBytes(service)) === 0);
  assert.equal(await queueDepth(service), 0);
  const runs = service.engine.batches.length;
  assert.equal(runs, stage === 'queue' || stage === 'engine' ? 1 : 0);
  service.engine.release();
  // Through the queue behind whatever might still be there.
  if (stage !== 'decode') await service.registry.get().classify(new Uint8Array(8 * 8 * 3));
  assert.equal(service.engine.batches.length, stage === 'decode' ? 0 : runs + 1);
}

for (const type of ['image/png', 'application/json', 'multipart/form-data; boundary=b']) {
  test(`after a deadline in the middle of a body of ${type} the rest is dropped, and the connection stays usable`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const service = await startService(t, { timeoutMs });
    const body = Buffer.concat([Buffer.from(filePart), Buffer.alloc(10_000_000, 'x'), Buffer.from('\r\n--b--\r\n')]);
    const socket = send(service, body.subarray(0, 50_000), { type, length: body.length });
    t.after(() => socket.destroy());
    await eventually(async () => (await heldBytes(service)) === body.length);
    const late = once(socket, 'data');
    t.mock.timers.tick(timeoutMs);
    assert.match(String(await late), /^HTTP\/1\.1 504 /);
    assert.equal(await heldBytes(service), 0);
    const next = once(socket, 'data');
    socket.write(body.subarray(50_000));
    socket.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.match(String(await next), /^HTTP\/1\.1 200 /);
  });
}

for (const type of ['image/png', 'application/json', 'multipart/form-data; boundary=b']) {
  test(`the bytes of a body of ${type} are free when its picture is decoded, while it waits for the engine`, async (t) => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    let bytes: WeakRef<Uint8Array> | undefined;
    const preprocess = async (given: Uint8Array) => {
      bytes = new WeakRef(given);
      return new Uint8Array(8 * 8 * 3);
    };
    const service = await startService(t, { maxBatchSize: 1 }, { preprocess });
    service.engine.hold();
    const bodies: Record<string, Buffer> = {
      'image/png': red,
      'application/json': Buffer.from(JSON.stringify({ image: red.toString('base64') })),
    };
    const body = bodies[type] ?? Buffer.concat([Buffer.from(filePart), red, Buffer.from('\r\n--b--\r\n')]);
    for (const place of ['engine', 'queue']) {
      const socket = send(service, body, { type });
      t.after(() => socket.destroy());
      const there = async () => (place === 'engine' ? service.engine.batches.length : await queueDepth(service));
      await eventually(async () => (await there()) === 1);
      assert.equal(await heldBytes(service), 0);
      await eventually(() => {
        collectGarbage();
        return bytes?.deref() === undefined;
      });
    }
  });
}

test('a request with several pictures counts once, where the slowest of them is', async (t) => {
  let decoded = 0;
  const preprocess = async () => {
    if (decoded++ > 0) await new Promise<never>(() => {});
    return new Uint8Array(8 * 8 * 3);
  };
  const service = await startService(t, {}, { preprocess });
  service.engine.hold();
  const images = [red, red, red].map((bytes) => bytes.toString('base64'));
  const socket = send(service, Buffer.from(JSON.stringify({ images })), { type: 'application/json' });
  await eventually(() => service.engine.batches.length === 1);
  socket.destroy();
  await eventually(async () => (await abandoned(service)).length > 0);
  assert.deepEqual(await abandoned(service), [{ model: 'colours', stage: 'decode', reason: 'client', value: 1 }]);
});

test('a client that leaves after its answer is not counted', async (t) => {
  const service = await startService(t);
  const socket = send(service, red);
  await once(socket, 'data');
  socket.destroy();
  await eventually(() => service.log.length > 0);
  assert.deepEqual(await abandoned(service), []);
});

/** Posts a picture, of which `sent` may be a part only. */
function send(
  { url }: Service,
  sent: Buffer,
  { type = 'image/png', length }: { type?: string; length?: number } = {},
): Socket {
  const bytes = length ?? (type === 'image/png' ? red.length : sent.length);
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`POST /classify HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: ${bytes}\r\n\r\n`);
  socket.write(sent);
  return socket;
}

async function abandoned({ metrics }: Service): Promise<{ stage?: string | number; value: number }[]> {
  return (await metrics.abandoned.get()).values.map(({ labels, value }) => ({ ...labels, value }));
}

async function heldBytes({ metrics }: Service): Promise<number> {
  return (await metrics.uploadBytes.get()).values[0]?.value ?? 0;
}

/** By turns of the event loop, since timers may stand still. */
async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve));
}
