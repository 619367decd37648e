import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { availableCpus } from './cpus.js';
import {
  boolean,
  byteSize,
  device,
  heightByWidth,
  int32Max,
  integer,
  type Kind,
  networks,
  oneOf,
  origin,
  rate,
  text,
  transforms,
  webAddress,
} from './option-kinds.js';

/** The verbs of the command, with what each takes besides options. */
export const verbs = {
  serve: {
    summary: 'Answers over HTTP. This is what vgg-serve does without a verb.',
    operands: { name: '', min: 0, max: 0 },
    notes:
      'A request that names no model goes to the first. SIGTERM and SIGINT end the server: requests in flight are still answered. A second one ends it at once, with 1.',
  },
  classify: {
    summary: 'Says what is in each picture.',
    operands: { name: 'PICTURE...', min: 1, max: Number.POSITIVE_INFINITY },
    notes:
      'PICTURE is a file, an http or https URL, or "-": then stdin has a file or a URL on each line. A picture that ' +
      'cannot be read or is refused is named on stderr; the others are still done.',
  },
  eval: {
    summary: 'Counts how often the model is right on a folder of pictures.',
    operands: { name: 'DIR', min: 1, max: 1 },
    notes:
      "DIR holds a folder per class. A folder is named by its category with each '/' written as '_' (T-shirt_top), or by " +
      'its index. Pictures are found at any depth, by the file endings that torchvision goes by. Pictures that are refused ' +
      'are named on stderr and not counted.',
  },
  preprocess: {
    summary: 'Writes what the model would see of each picture.',
    operands: { name: 'FILE...', min: 1, max: Number.POSITIVE_INFINITY },
    notes:
      'Each FILE becomes DIR/<name of the file>.<resize>-<crop>.u8: crop x crop x 3 bytes, RGB, row by row. A line with ' +
      'the SHA-256 of those bytes and the name of FILE is printed, or "error:<code>" in place of the hash when the picture ' +
      'is refused; the others are still done.',
  },
  models: {
    summary: 'Lists the networks, and which of them are on this machine.',
    operands: { name: '', min: 0, max: 0 },
    notes:
      'NAME is what --model takes. GFLOPS are the multiply-adds of one picture in 10^9, as torchvision counts them. ' +
      'HERE tells whether the file lies on this machine already.',
  },
  pull: {
    summary: 'Fetches weights, so that the first start need not.',
    operands: { name: 'NAME...', min: 1, max: Number.POSITIVE_INFINITY },
    notes:
      'Files go where PyTorch keeps its own: $TORCH_HOME/hub/checkpoints, by default ~/.cache/torch/hub/checkpoints. ' +
      'One that is there already is not fetched again. What was fetched before Ctrl-C or a cut is kept, and the next ' +
      'call goes on from there.',
  },
  describe: {
    summary: 'Prints a network as PyTorch prints it.',
    operands: { name: 'NAME', min: 1, max: 1 },
    notes:
      'NAME is what --model takes: a network of "vgg-serve models", or the path of a manifest. Only --graph needs the ' +
      'weights; it fetches them where they are missing.',
  },
  verify: {
    summary: 'Checks a file of weights and says which network it holds.',
    operands: { name: 'FILE', min: 1, max: 1 },
    notes:
      "A file named as PyTorch names its own (vgg16-397923af.pth) must have a SHA-256 that begins with the name's digits. " +
      'Nothing in the file is ever run.',
  },
  init: {
    summary: 'Writes the manifest for a checkpoint of your own.',
    operands: { name: 'FILE', min: 1, max: 1 },
    notes:
      'On a terminal it asks for what is not given; elsewhere it takes the defaults and says so. --cfg and --pool are ' +
      'for what weights do not show: the layers without any (pooling, LRN), and a pool that is no square.',
  },
  key: {
    summary: 'Makes an API key, and the line of it for the file of --api-key-file.',
    operands: { name: 'NAME', min: 1, max: 1 },
    notes:
      'Prints two lines: the key, for the client, which is shown this once and kept nowhere; and NAME with its SHA-256, ' +
      'for the file. NAME is what logs and metrics show. A running server reads the file again on SIGHUP.',
  },
  doctor: {
    summary: 'Checks that all is there: Node, CPUs, engine, folders, models.',
    operands: { name: '', min: 0, max: 0 },
    notes: 'Each check is printed with "ok", or with what to do about it.',
  },
} as const;

export type Verb = keyof typeof verbs;

const everywhere = ['serve', 'classify', 'eval', 'preprocess'] as const satisfies Verb[];
const withEngine = ['serve', 'classify', 'eval'] as const satisfies Verb[];
const withWeights = [...withEngine, 'pull', 'describe', 'doctor'] as const satisfies Verb[];
const withJson = [
  'classify',
  'eval',
  'models',
  'pull',
  'describe',
  'verify',
  'init',
  'key',
  'doctor',
] as const satisfies Verb[];

/**
 * Every option. The rest follows from a row: its flag (`maxWaitMs` is `--max-wait-ms`), its environment variable
 * (`VGG_SERVE_MAX_WAIT_MS`, unless the row names another or has none), its field on `Config`, and its help.
 */
export const options = {
  model: {
    kind: text('MODEL'),
    default: ['fashion-vgg'],
    verbs: [...everywhere, 'doctor'],
    repeatable: ['serve', 'doctor'],
    help:
      'A name of "vgg-serve models"; one with its weights: vgg16:IMAGENET1K_V1, vgg16:none (untrained) or vgg16=FILE; or ' +
      'the path of a manifest, or of a folder that holds a manifest.json. A precision may stand behind any: vgg16@bf16.',
  },
  // Not VGG_SERVE_PORT: Kubernetes sets that one to "tcp://..." in every pod beside a service called vgg-serve.
  host: {
    kind: text('ADDRESS'),
    default: '127.0.0.1',
    verbs: ['serve'],
    env: 'HOST',
    help: 'The address to listen on.',
  },
  port: {
    kind: integer('PORT', 0, 65_535),
    default: 8080,
    verbs: ['serve'],
    env: 'PORT',
    help: 'The port to listen on; 0 takes a free one.',
  },
  topK: {
    kind: integer('K', 1, 1_000_000),
    default: 5,
    verbs: ['serve', 'classify'],
    help: 'How many labels an answer holds, the likeliest first; more than there are classes means all.',
  },
  maxBatchSize: {
    kind: integer('N', 1, 1024),
    default: 16,
    verbs: withEngine,
    help: 'The largest number of pictures in one run of the engine.',
  },
  maxWaitMs: {
    kind: integer('MS', 0, int32Max),
    default: 0,
    verbs: ['serve'],
    help: 'How long an idle engine waits for a batch to fill.',
  },
  maxQueue: {
    kind: integer('N', 1, 1_000_000),
    default: 256,
    verbs: ['serve'],
    help: 'How many pictures may wait for a model; further ones are answered with 503.',
  },
  maxPictures: {
    kind: integer('N', 1, 10_000),
    default: 16,
    verbs: ['serve'],
    help: 'The largest number of pictures in one request.',
  },
  maxRequestBytes: {
    kind: byteSize('SIZE'),
    default: 64e6,
    verbs: ['serve'],
    help: 'The largest body of a request.',
  },
  maxUploadBytes: {
    kind: byteSize('SIZE'),
    default: 512e6,
    verbs: ['serve'],
    help: 'The bodies of all requests together while they come in and are decoded; further ones are answered with 503.',
  },
  maxPictureBytes: {
    kind: byteSize('SIZE'),
    default: 20e6,
    verbs: everywhere,
    help: 'The largest encoded picture.',
  },
  maxPixels: {
    kind: integer('N', 1, int32Max),
    default: 50e6,
    verbs: everywhere,
    help: 'The largest picture, width times height.',
  },
  maxAspect: {
    kind: integer('N', 1, 1_000_000),
    default: 1000,
    verbs: everywhere,
    help: 'How many times its short side the long side of a picture may be.',
  },
  timeoutMs: {
    kind: integer('MS', 1, int32Max),
    default: 30_000,
    verbs: ['serve', 'classify'],
    help:
      'The longest that a request may take: one to the server, or one for the picture of a URL. A request to the server ' +
      'may ask for less with the header X-Request-Timeout-Ms.',
  },
  headersTimeoutMs: {
    kind: integer('MS', 1, int32Max),
    default: 10_000,
    verbs: ['serve'],
    help: 'How long a client may take to send the head of a request; it is answered with 408.',
  },
  bodyTimeoutMs: {
    kind: integer('MS', 1, int32Max),
    default: 20_000,
    verbs: ['serve'],
    help:
      'How long a client may take to send a whole request, head and body; it is answered with 408. And how long it may ' +
      'take to read the answer; then its connection is closed.',
  },
  keepAliveTimeoutMs: {
    kind: integer('MS', 1, int32Max),
    default: 72_000,
    verbs: ['serve'],
    help:
      'How long a connection is kept between two requests. Longer than the load balancer keeps it (60 s is usual): ' +
      'else a request may meet its end.',
  },
  maxConnections: {
    kind: integer('N', 1, 1_000_000),
    default: 10_000,
    verbs: ['serve'],
    help: 'How many connections may be open; further ones are closed at once. Fewer where the process may not open as many files.',
  },
  drainDelayMs: {
    kind: integer('MS', 0, int32Max),
    default: 0,
    verbs: ['serve'],
    help:
      'How long everything is still answered once the server is told to stop, while /health/ready says 503, so that a ' +
      'balancer notices.',
  },
  drainTimeoutMs: {
    kind: integer('MS', 0, int32Max),
    default: 10_000,
    verbs: ['serve'],
    help: 'How long requests in flight may still take after that delay.',
  },
  engine: {
    kind: oneOf('ENGINE', ['auto', 'native', 'onnxruntime', 'tfjs']),
    default: 'auto',
    verbs: withEngine,
    help:
      'What computes the network; auto: tfjs on a GPU, else native where it is built and runs the network, else ' +
      'onnxruntime.',
  },
  // VGG-16 in a batch of 16 takes 5 s on one thread without AVX: a machine may be twelve times slower than that.
  engineTimeoutMs: {
    kind: integer('MS', 1, int32Max),
    default: 60_000,
    verbs: ['serve'],
    help: 'The longest that the engine may take for a batch; beyond it hangs, and its process is started anew.',
  },
  maxEngineFailures: {
    kind: integer('N', 1, 1_000_000),
    default: 5,
    verbs: ['serve'],
    help: 'So many engine processes of a model lost in a row, without an answer between them, and the model has failed.',
  },
  engineRetryMs: {
    kind: integer('MS', 0, int32Max),
    default: 30_000,
    verbs: ['serve'],
    help: 'After how long a model that has failed in this way is loaded again; 0: not before it is asked for.',
  },
  device: {
    kind: device('DEVICE'),
    default: 'auto',
    verbs: withEngine,
    help:
      'Where the network is computed; auto: on a GPU where one is really used, else on the CPU. gpu:0,1 runs each model ' +
      'on both.',
  },
  allowTf32: {
    kind: boolean(),
    default: false,
    verbs: withEngine,
    help: 'Let a GPU round the factors of products to 10 bits (TF32): faster, and less exact.',
  },
  precision: {
    kind: oneOf('PRECISION', ['fp32', 'bf16', 'bf16-classifier']),
    default: 'fp32',
    verbs: [...withEngine, 'describe', 'doctor'],
    help:
      'In which numbers the networks are computed whose name (vgg16@bf16) or manifest says nothing. fp32 gives ' +
      "PyTorch's answer, bf16 is faster and less exact, bf16-classifier computes the linear layers alone in bfloat16.",
  },
  isa: {
    kind: oneOf('ISA', ['auto', 'avx512', 'avx2', 'neon', 'baseline', 'amx', 'avx512bf16']),
    default: 'auto',
    verbs: withEngine,
    help: 'Forces an instruction set of the native engine, to test and to compare; auto: the fastest that is here.',
  },
  agreement: {
    kind: text('DIR'),
    default: undefined,
    defaultText: "the model's own samples, else those of the embedded model",
    verbs: ['serve'],
    help:
      'Pictures on which a model of another precision than fp32 is compared with fp32 while it loads; "none" ' +
      'leaves that out. Up to 200 are taken, at any depth.',
  },
  threads: {
    kind: integer('N', 1, 1024),
    default: () => availableCpus(),
    defaultText: 'the CPUs that this process may use',
    verbs: withEngine,
    help: 'Threads of the engine, for each model. A small network uses fewer.',
  },
  preprocessThreads: {
    kind: integer('N', 1, 1024),
    default: () => availableCpus(),
    defaultText: 'the CPUs that this process may use',
    verbs: everywhere,
    help: 'Pictures that are read at a time; the large ones in threads of their own.',
  },
  exifOrientation: {
    kind: boolean(),
    default: false,
    verbs: everywhere,
    help: 'Turn a photograph as its EXIF header says. torchvision does not.',
  },
  prepack: {
    kind: boolean(),
    default: false,
    verbs: withEngine,
    help: 'Keep a copy of the weights in the order in which the engine reads them: about twice the memory, and little faster.',
  },
  weightsUrl: {
    kind: webAddress('URL'),
    default: undefined,
    defaultText: "PyTorch's own",
    verbs: withWeights,
    help: 'A mirror of the published weights: each file is fetched from URL/<its name>.',
  },
  offline: {
    kind: boolean(),
    default: false,
    verbs: withWeights,
    help: 'Fetch nothing: open no connection for weights, and say which file to put where.',
  },
  cacheDir: {
    kind: text('DIR'),
    default: userCacheDir,
    defaultText: '~/.cache/vgg-serve, or under XDG_CACHE_HOME',
    verbs: [...withEngine, 'describe', 'doctor'],
    help: 'Where weights are kept that had to be converted to float32.',
  },
  adminToken: {
    kind: text('TOKEN'),
    flag: '',
    default: undefined,
    defaultText: 'none, and no such addresses',
    verbs: ['serve'],
    help:
      'What POST /models/:name/load and /models/:name/unload ask for. There is no flag for it: every user of the ' +
      'machine can read the command lines of all processes.',
  },
  adminTokenFile: {
    kind: text('FILE'),
    default: undefined,
    defaultText: 'none',
    verbs: ['serve'],
    help: 'A file that holds the admin token in one line. Read again on SIGHUP.',
  },
  apiKeyFile: {
    kind: text('FILE'),
    default: undefined,
    defaultText: 'none, and no key is asked for',
    verbs: ['serve', 'doctor'],
    help:
      'The keys with which the server may be asked, a line each as "vgg-serve key" makes it; all addresses but ' +
      '/health/live and /health/ready then need one. Read again on SIGHUP.',
  },
  metricsAccess: {
    kind: oneOf('ACCESS', ['open', 'key', 'admin']),
    default: undefined,
    defaultText: 'key with --api-key-file, else open',
    verbs: ['serve'],
    help: 'What GET /metrics asks for.',
  },
  rateLimit: {
    kind: rate('N/UNIT'),
    default: undefined,
    defaultText: 'none',
    verbs: ['serve'],
    help:
      'How many requests one key may make, or one address where there is no valid key: 100/s, 6000/m, 100000/h. Further ' +
      'ones are answered with 429. Those to /health/live and /health/ready do not count.',
  },
  trustProxy: {
    kind: networks('CIDR[,CIDR]'),
    default: undefined,
    defaultText: 'none',
    verbs: ['serve'],
    help:
      'The proxies in front, by address or network: what they write into X-Forwarded-For is believed, and the address ' +
      'of the client is the last one there that is not one of theirs.',
  },
  corsOrigin: {
    kind: origin('ORIGIN'),
    default: [],
    defaultText: 'none',
    verbs: ['serve'],
    repeatable: ['serve'],
    help: 'Pages of this origin (https://demo.example.org) may ask the server from a browser; * means all pages.',
  },
  tlsCert: {
    kind: text('FILE'),
    default: undefined,
    defaultText: 'none, and plain HTTP',
    verbs: ['serve', 'doctor'],
    help: 'The certificate and its chain, in PEM form: HTTPS with TLS 1.2 or 1.3. Read again on SIGHUP.',
  },
  tlsKey: {
    kind: text('FILE'),
    default: undefined,
    defaultText: 'none',
    verbs: ['serve', 'doctor'],
    help: 'The private key to --tls-cert, without a passphrase.',
  },
  logLevel: {
    kind: oneOf('LEVEL', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    default: 'info',
    verbs: ['serve'],
    help: 'The least severe line that is logged.',
  },
  resize: {
    kind: integer('N', 1, 4096),
    default: undefined,
    defaultText: "the model's",
    verbs: ['preprocess'],
    env: null,
    help: 'The short side of the picture after the resize, in pixels.',
  },
  crop: {
    kind: integer('N', 1, 4096),
    default: undefined,
    defaultText: "the model's",
    verbs: ['preprocess'],
    env: null,
    help: 'The side of the square that is cut from its centre; beyond the picture it is black.',
  },
  out: {
    kind: text('DIR'),
    required: true,
    verbs: ['preprocess'],
    env: null,
    help: 'The folder to write to; it is made when it is missing.',
  },
  answers: {
    kind: text('FILE'),
    default: undefined,
    defaultText: 'none',
    verbs: ['eval'],
    env: null,
    help: 'Write a line for each picture, sorted by path: path, index of the likeliest class, its probability; tabs between.',
  },
  categories: {
    kind: text('FILE'),
    default: undefined,
    defaultText: "ImageNet's names for 1,000 classes, else class 0, class 1, ...",
    verbs: ['init'],
    env: null,
    help: 'The names of the classes: a text with one a line, or JSON: a list, or the class_to_idx of an ImageFolder.',
  },
  transforms: {
    kind: transforms('TRANSFORMS'),
    default: undefined,
    defaultText: 'imagenet',
    verbs: ['init'],
    env: null,
    help:
      'What happens to a picture: "imagenet" (256,224 with the mean and std of ImageNet), or RESIZE,CROP in pixels, ' +
      'which may be followed by the mean and the std of three channels.',
  },
  name: {
    kind: text('NAME'),
    default: undefined,
    defaultText: 'from the name of FILE',
    verbs: ['init'],
    env: null,
    help: 'The name of the model.',
  },
  cfg: {
    kind: text('CFG'),
    default: undefined,
    defaultText: 'from the checkpoint',
    verbs: ['init'],
    env: null,
    help: 'The convolutional part: A, A-LRN, B, C, D, E, or a list such as 64,LRN,M,128,conv1-128,M.',
  },
  pool: {
    kind: heightByWidth('HEIGHTxWIDTH', 65_536),
    default: undefined,
    defaultText: 'a square',
    verbs: ['init'],
    env: null,
    help: 'What the adaptive pooling hands to the classifier.',
  },
  manifestPath: {
    kind: text('MANIFEST'),
    flag: '--out',
    default: undefined,
    defaultText: 'manifest.json beside FILE',
    verbs: ['init'],
    env: null,
    help: 'The manifest to write.',
  },
  force: {
    kind: boolean(),
    default: false,
    verbs: ['init'],
    env: null,
    help: 'Write over a manifest that is there.',
  },
  layers: {
    kind: boolean(),
    default: false,
    verbs: ['describe'],
    env: null,
    help: 'Print a table of the layers instead: output shape for one picture, parameters, multiply-adds.',
  },
  graph: {
    kind: text('FILE'),
    default: undefined,
    defaultText: 'none',
    verbs: ['describe'],
    env: null,
    help: 'Write the network with its weights as one ONNX file: uint8 pixels in, logits out, for Netron or any ONNX runtime.',
  },
  admin: {
    kind: boolean(),
    default: false,
    verbs: ['key'],
    env: null,
    help: 'A key with which models may also be loaded and unloaded.',
  },
  json: {
    kind: boolean(),
    default: false,
    verbs: withJson,
    env: null,
    help: 'Print one JSON object.',
  },
} as const satisfies Record<string, Option>;

/** Pairs of options of which the first may be as large as the second at most, and why. */
export const orderedPairs = [
  {
    verb: 'serve',
    smaller: 'headersTimeoutMs',
    larger: 'bodyTimeoutMs',
    because: 'the time of the whole request has that of its head in it',
  },
] as const satisfies readonly { verb: Verb; smaller: string; larger: string; because: string }[];

export interface Option<T = unknown> {
  readonly kind: Kind<T>;
  /** A list where the option is repeatable. A function is called when neither flag nor variable is there. */
  readonly default?: T | readonly T[] | ((env: NodeJS.ProcessEnv) => T);
  /** Stands in help for a default that is not the same everywhere. */
  readonly defaultText?: string;
  readonly required?: true;
  /** Where it is not derived from the key: two verbs mean different things by one flag. Empty: only the variable. */
  readonly flag?: string;
  readonly verbs: readonly Verb[];
  /** The verbs with which it may be given more than once. Its value is then a list with every verb. */
  readonly repeatable?: readonly Verb[];
  /** The name of the environment variable where it is not derived; `null`: none, the option is a matter of one call. */
  readonly env?: string | null;
  readonly help: string;
}

/** Where the XDG base directory specification puts a program's cache; it says that a relative path is to be ignored. */
function userCacheDir(env: NodeJS.ProcessEnv): string {
  const base = env.XDG_CACHE_HOME;
  return join(base !== undefined && isAbsolute(base) ? base : join(env.HOME || homedir(), '.cache'), 'vgg-serve');
}
