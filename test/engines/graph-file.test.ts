import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { inputName, outputName } from '../../src/engines/onnxruntime/graph.js';
import { writeGraphFile } from '../../src/engines/onnxruntime/graph-file.js';
import { openSession } from '../../src/engines/onnxruntime/session.js';
import { stateDict } from '../../src/network/state-dict.js';
import { elementCount } from '../../src/tensor.js';
import { buildNetwork } from '../../src/vgg/network.js';
import { relativeError, smallNetworkSpec, smallNetworks, specOf } from './test-networks.js';

async function temporaryFolder(t: { after(done: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'vgg-serve-test-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

for (const network of smallNetworks()) {
  test(`writeGraphFile of ${network.name}: ONNX Runtime reads the file alone, and answers as the engine does`, async (t) => {
    const folder = await temporaryFolder(t);
    const path = join(folder, 'network.onnx');
    const spec = await smallNetworkSpec(network, `${network.name}.pth`);
    assert.equal(await writeGraphFile(path, spec), (await stat(path)).size);
    assert.deepEqual(await readdir(folder), ['network.onnx']);

    const { n, pixels, inputSize } = network;
    const session = await InferenceSession.create(await readFile(path));
    const feeds = { [inputName]: new Tensor('uint8', pixels, [n, inputSize, inputSize, 3]) };
    const { [outputName]: output } = await session.run(feeds);
    await session.release();
    const engine = await openSession({ ...spec, maxBatchSize: n });
    const { logits } = await engine.run(pixels, n);
    await engine.close();
    assert.ok(output?.data instanceof Float32Array);
    assert.deepEqual(output.dims, [n, spec.classes]);
    assert.ok(relativeError(output.data, [...logits]) < 1e-6);
    assert.ok(relativeError(output.data, network.logits.flat()) < 1e-5);
  });
}

test('writeGraphFile of a network beyond 2 GiB: refused before a byte is read or written', async (t) => {
  const folder = await temporaryFolder(t);
  const network = buildNetwork({ cfg: [4, 'M'], batchNorm: false, pool: [1, 1], hidden: 23_200, classes: 3 });
  const tensors = stateDict(network).map(({ name, shape }) => ({
    name,
    shape,
    path: '/nowhere',
    byteOffset: 0,
    byteLength: 4 * elementCount(shape),
  }));
  await assert.rejects(writeGraphFile(join(folder, 'large.onnx'), specOf(network, 8, tensors)), {
    name: 'RangeError',
    message: /^The file would have 215\d{7} bytes; an ONNX file that holds its weights may have at most 2147483647\.$/,
  });
  assert.deepEqual(await readdir(folder), []);
});

test('writeGraphFile of weights that end too early: an error, and no file', async (t) => {
  const folder = await temporaryFolder(t);
  const [network] = smallNetworks();
  assert.ok(network);
  const { tensors, ...spec } = await smallNetworkSpec(network, `${network.name}.pth`);
  const [first, ...others] = tensors;
  assert.ok(first);
  const { size } = await stat(first.path);
  const beyond = { ...first, byteOffset: size - 8 };
  const writing = writeGraphFile(join(folder, 'network.onnx'), { ...spec, tensors: [beyond, ...others] });
  await assert.rejects(writing, /small_a\.pth has become shorter while it was read$/);
  assert.deepEqual(await readdir(folder), []);
});

const python = process.env.PYTHON ?? 'python3';

function whyNoChecker(): string | false {
  try {
    execFileSync(python, ['-c', 'import onnx'], { stdio: 'ignore' });
    return false;
  } catch {
    return `${python} cannot import onnx (pip install onnx, or set PYTHON)`;
  }
}

test('writeGraphFile: onnx.checker and its shape inference accept the file', { skip: whyNoChecker() }, async (t) => {
  const folder = await temporaryFolder(t);
  for (const network of smallNetworks()) {
    const path = join(folder, `${network.name}.onnx`);
    await writeGraphFile(path, await smallNetworkSpec(network, `${network.name}.pth`));
    const program = 'import onnx, sys; onnx.checker.check_model(sys.argv[1], full_check=True)';
    await promisify(execFile)(python, ['-c', program, path]);
  }
});
