import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verbHelp } from '../src/cli/help.js';
import { optionsOf, parseConfig, UsageError } from '../src/config.js';
import { availableCpus } from '../src/cpus.js';
import { type Verb, verbs } from '../src/options.js';

const everyVerb = Object.keys(verbs) as Verb[];

/** The least that each verb needs. */
const operandsOf: Record<Verb, string[]> = {
  serve: [],
  classify: ['a.png'],
  eval: ['pictures'],
  preprocess: ['--out', 'crops', 'a.png'],
  models: [],
  pull: ['vgg16'],
  describe: ['vgg16'],
  verify: ['vgg16.pth'],
  doctor: [],
  init: ['own.pth'],
  key: ['ada'],
};

function usageError(argv: string[], message: string, verb: Verb = 'serve', env: NodeJS.ProcessEnv = {}): void {
  assert.throws(
    () => parseConfig(argv, env, verb),
    (error) => {
      assert.ok(error instanceof UsageError);
      assert.equal(error.message, message);
      return true;
    },
  );
}

test('parseConfig without arguments or variables: the defaults', () => {
  assert.deepEqual(parseConfig([], { HOME: '/home/ada' }, 'serve'), {
    model: ['fashion-vgg'],
    host: '127.0.0.1',
    port: 8080,
    topK: 5,
    maxBatchSize: 16,
    maxWaitMs: 0,
    maxQueue: 256,
    maxPictures: 16,
    maxRequestBytes: 64_000_000,
    maxUploadBytes: 512_000_000,
    maxPictureBytes: 20_000_000,
    maxPixels: 50_000_000,
    maxAspect: 1000,
    timeoutMs: 30_000,
    headersTimeoutMs: 10_000,
    bodyTimeoutMs: 20_000,
    keepAliveTimeoutMs: 72_000,
    maxConnections: 10_000,
    drainDelayMs: 0,
    drainTimeoutMs: 10_000,
    engine: 'auto',
    engineTimeoutMs: 60_000,
    maxEngineFailures: 5,
    engineRetryMs: 30_000,
    device: 'auto',
    allowTf32: false,
    precision: 'fp32',
    isa: 'auto',
    agreement: undefined,
    threads: availableCpus(),
    preprocessThreads: availableCpus(),
    exifOrientation: false,
    prepack: false,
    weightsUrl: undefined,
    offline: false,
    cacheDir: '/home/ada/.cache/vgg-serve',
    adminToken: undefined,
    adminTokenFile: undefined,
    apiKeyFile: undefined,
    metricsAccess: undefined,
    rateLimit: undefined,
    trustProxy: undefined,
    corsOrigin: [],
    tlsCert: undefined,
    tlsKey: undefined,
    logLevel: 'info',
    operands: [],
  });
});

test('parseConfig of a verb: has the options of that verb and no others', () => {
  for (const verb of everyVerb) {
    const config = parseConfig(operandsOf[verb], {}, verb);
    assert.deepEqual(Object.keys(config), [...optionsOf(verb).map(({ key }) => key), 'operands']);
  }
});

test('parseConfig: the result and its lists are frozen', () => {
  const byDefault = parseConfig([], {}, 'serve');
  const given = parseConfig(['--model', 'a', '--model', 'b'], {}, 'serve');
  for (const frozen of [byDefault, byDefault.model, byDefault.operands, given.model])
    assert.ok(Object.isFrozen(frozen));
});

test('parseConfig: a flag goes before its variable, and that before the default', () => {
  const env = { VGG_SERVE_MAX_QUEUE: '7', PORT: '9000', HOST: '::1' };
  assert.equal(parseConfig(['--max-queue', '8'], env, 'serve').maxQueue, 8);
  const { maxQueue, port, host } = parseConfig([], env, 'serve');
  assert.deepEqual({ maxQueue, port, host }, { maxQueue: 7, port: 9000, host: '::1' });
});

test('parseConfig: an empty variable counts as none, and so does VGG_SERVE_PORT, which Kubernetes sets', () => {
  const env = { VGG_SERVE_MAX_QUEUE: '', VGG_SERVE_PORT: 'tcp://10.0.0.1:80' };
  const { maxQueue, port } = parseConfig([], env, 'serve');
  assert.deepEqual({ maxQueue, port }, { maxQueue: 256, port: 8080 });
});

test('parseConfig: --flag=value is --flag value, and the value may hold a =', () => {
  assert.equal(parseConfig(['--max-queue=9'], {}, 'serve').maxQueue, 9);
  assert.equal(parseConfig(['--cache-dir=a=b'], {}, 'serve').cacheDir, 'a=b');
});

test('parseConfig: a repeatable option collects its values, and a variable lists them', () => {
  assert.deepEqual(parseConfig(['--model', 'a', '--model=b'], {}, 'serve').model, ['a', 'b']);
  assert.deepEqual(parseConfig([], { VGG_SERVE_MODEL: 'a, b' }, 'serve').model, ['a', 'b']);
  usageError(
    ['--model', 'a', '--model', 'b', 'x.png'],
    '--model has 2 values (a, b), but classify takes one',
    'classify',
  );
  usageError(['--port', '1', '--port', '2'], '--port has 2 values (1, 2), but serve takes one');
});

test('parseConfig: operands stand among options, and after -- all are operands', () => {
  const { operands, json } = parseConfig(['a.png', '--json', 'b.png', '--', '--top-k', '-c.png'], {}, 'classify');
  assert.deepEqual({ operands, json }, { operands: ['a.png', 'b.png', '--top-k', '-c.png'], json: true });
});

test('parseConfig: a boolean is switched by its flag, its negation and its variable', () => {
  const env = { VGG_SERVE_EXIF_ORIENTATION: 'true' };
  assert.equal(parseConfig(['--exif-orientation'], {}, 'serve').exifOrientation, true);
  assert.equal(parseConfig([], env, 'serve').exifOrientation, true);
  assert.equal(parseConfig([], { VGG_SERVE_EXIF_ORIENTATION: '0' }, 'serve').exifOrientation, false);
  assert.equal(parseConfig(['--no-exif-orientation'], env, 'serve').exifOrientation, false);
  usageError(['--exif-orientation=yes'], '--exif-orientation takes no value, but was given "yes"');
  usageError([], 'VGG_SERVE_EXIF_ORIENTATION: "yes" is not allowed: give true, false, 1 or 0', 'serve', {
    VGG_SERVE_EXIF_ORIENTATION: 'yes',
  });
});

test('parseConfig: sizes', async (t) => {
  const sizes: [string, number][] = [
    ['1', 1],
    ['4096', 4096],
    ['512B', 512],
    ['3kB', 3000],
    ['20MB', 20_000_000],
    ['20 mb', 20_000_000],
    ['1.5GB', 1_500_000_000],
    ['2KiB', 2048],
    ['64MiB', 67_108_864],
    ['1GiB', 1_073_741_824],
  ];
  for (const [text, bytes] of sizes) {
    await t.test(text, () => {
      assert.equal(parseConfig(['--max-picture-bytes', text], {}, 'serve').maxPictureBytes, bytes);
    });
  }
  const allowed = 'give bytes, or a number with kB, MB, GB, KiB, MiB or GiB, from 1 to 2147483647 bytes';
  for (const text of ['0', '-1', '20M', '20iB', 'MB', '1e6', '2GiB', '']) {
    await t.test(`refused: "${text}"`, () => {
      usageError([`--max-picture-bytes=${text}`], `--max-picture-bytes: "${text}" is not allowed: ${allowed}`);
    });
  }
});

test('parseConfig: whole numbers', () => {
  assert.equal(parseConfig(['--port', '0'], {}, 'serve').port, 0);
  assert.equal(parseConfig(['--port', '65535'], {}, 'serve').port, 65_535);
  for (const text of ['65536', '-1', '80.5', '0x50', 'http', ' 80', '']) {
    usageError([`--port=${text}`], `--port: "${text}" is not allowed: give a whole number from 0 to 65535`);
  }
  usageError([], 'PORT: "http" is not allowed: give a whole number from 0 to 65535', 'serve', { PORT: 'http' });
});

test('parseConfig: one of several words', () => {
  assert.equal(parseConfig(['--engine', 'onnxruntime'], {}, 'serve').engine, 'onnxruntime');
  usageError(['--engine', 'ONNX'], '--engine: "ONNX" is not allowed: give one of auto, native, onnxruntime, tfjs');
  usageError(
    ['--log-level', 'loud'],
    '--log-level: "loud" is not allowed: give one of trace, debug, info, warn, error, fatal, silent',
  );
});

test('parseConfig: where weights come from', () => {
  const env = { VGG_SERVE_WEIGHTS_URL: 'http://mirror/torch', VGG_SERVE_OFFLINE: '1' };
  for (const verb of ['serve', 'classify', 'eval', 'pull', 'describe', 'doctor'] as const) {
    const config = parseConfig(operandsOf[verb], env, verb);
    assert.equal(config.weightsUrl, 'http://mirror/torch', verb);
    assert.equal(config.offline, true, verb);
    const given = parseConfig(['--weights-url=https://a', '--no-offline', ...operandsOf[verb]], env, verb);
    assert.deepEqual([given.weightsUrl, given.offline], ['https://a', false], verb);
  }
  usageError(
    ['--weights-url', 'mirror/torch'],
    '--weights-url: "mirror/torch" is not allowed: give an address that begins with http:// or https://',
  );
});

test('parseConfig: a missing value', () => {
  usageError(['--port'], '--port is not followed by a value: give a whole number from 0 to 65535');
  usageError(['--cache-dir', '--port', '1'], '--cache-dir is not followed by a value: give a DIR');
  usageError(['--cache-dir='], '--cache-dir: "" is not allowed: give a DIR');
  usageError([], 'VGG_SERVE_MODEL: "" is not allowed: give a MODEL', 'serve', { VGG_SERVE_MODEL: 'a,' });
});

test('parseConfig: an unknown option', () => {
  usageError(['--prot', '1'], '--prot is not an option of serve: did you mean --port?');
  usageError(['--max-batchsize=1'], '--max-batchsize is not an option of serve: did you mean --max-batch-size?');
  usageError(
    ['--no-exif-orientaton'],
    '--no-exif-orientaton is not an option of serve: did you mean --no-exif-orientation?',
  );
  usageError(['--frobnicate'], '--frobnicate is not an option of serve: "vgg-serve serve --help" lists them');
  usageError(['-p', '1'], '-p is not an option of serve: "vgg-serve serve --help" lists them');
  usageError(
    ['--json'],
    '--json is not an option of serve (it is one of classify, eval, models, pull, describe, verify, init, key, doctor)',
  );
  usageError(['--no-json', 'a.png'], '--no-json is not an option of classify: did you mean --json?', 'classify');
});

test('parseConfig: two options that do not go together', () => {
  usageError(
    ['--headers-timeout-ms', '60000'],
    '--headers-timeout-ms is 60000, more than --body-timeout-ms, which is 20000: the time of the whole request has that of its head in it',
  );
  usageError(
    [],
    '--headers-timeout-ms is 10000, more than --body-timeout-ms, which is 9999: the time of the whole request has that of its head in it',
    'serve',
    { VGG_SERVE_BODY_TIMEOUT_MS: '9999' },
  );
  assert.equal(parseConfig(['--body-timeout-ms', '10000'], {}, 'serve').bodyTimeoutMs, 10_000);
});

test('parseConfig: a required option that is missing', () => {
  usageError(['a.png'], '--out is missing: preprocess needs --out DIR', 'preprocess');
});

test('parseConfig: too few or too many operands', () => {
  usageError([], 'classify needs PICTURE...: see "vgg-serve classify --help"', 'classify');
  usageError([], 'eval needs DIR: see "vgg-serve eval --help"', 'eval');
  usageError(['a', 'b'], 'eval takes one DIR, but was given "b": see "vgg-serve eval --help"', 'eval');
  usageError(['a.png'], 'serve takes options only, but was given "a.png": see "vgg-serve serve --help"');
});

test('parseConfig: the cache lies under XDG_CACHE_HOME unless that is relative', () => {
  const env = { HOME: '/home/ada' };
  assert.equal(parseConfig([], { ...env, XDG_CACHE_HOME: '/var/cache' }, 'serve').cacheDir, '/var/cache/vgg-serve');
  assert.equal(parseConfig([], { ...env, XDG_CACHE_HOME: 'cache' }, 'serve').cacheDir, '/home/ada/.cache/vgg-serve');
});

test('every option: its default is a value that its kind allows', () => {
  for (const row of everyVerb.flatMap(optionsOf)) {
    if (row.default === undefined) continue;
    const value = typeof row.default === 'function' ? row.default({ HOME: '/' }) : row.default;
    for (const one of Array.isArray(value) ? value : [value])
      assert.equal(row.kind.parse(row.kind.show(one)), one, row.flag);
  }
});

test('verbHelp: names each option of the verb with its variable, in at most 96 columns', () => {
  for (const verb of everyVerb) {
    const help = verbHelp(verb);
    const unwrapped = help.replaceAll(/\s+/g, ' ');
    for (const {
      flag,
      negation,
      envName,
      required,
      kind: { choices },
    } of optionsOf(verb)) {
      const shown = flag === '' ? `${envName}` : negation === undefined ? flag : flag.replace('--', '--[no-]');
      assert.match(help, new RegExp(`^  ${shown.replaceAll(/[[\]]/g, '\\$&')}( |$)`, 'm'));
      if (envName !== undefined && flag !== '') assert.ok(unwrapped.includes(`env: ${envName}]`), flag);
      if (choices !== undefined) assert.ok(unwrapped.includes(`One of ${choices.join(', ')}.`), flag);
      if (required) assert.match(help, /\[required\]/);
    }
    assert.ok(help.split('\n').every((line) => line.length <= 96));
  }
  assert.doesNotMatch(verbHelp('serve'), /--json/);
});

test('verbHelp of serve: begins as it should', () => {
  const [usage, , summary, , ...rows] = verbHelp('serve').split('\n');
  assert.equal(usage, 'Usage: vgg-serve serve [OPTION...]');
  assert.equal(summary, 'Answers over HTTP. This is what vgg-serve does without a verb.');
  const port = rows.findIndex((row) => row.startsWith('  --port'));
  assert.deepEqual(rows.slice(port, port + 2), [
    '  --port PORT               The port to listen on; 0 takes a free one.',
    '                            [default: 8080; env: PORT]',
  ]);
});
