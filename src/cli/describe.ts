import type { Config } from '../config.js';
import { writeGraphFile } from '../engines/onnxruntime/graph-file.js';
import { buildArchitecture, type Network } from '../model-registry/architecture.js';
import { describeModel, type ModelDescription } from '../model-registry/description.js';
import { locateWeights } from '../model-registry/locate.js';
import type { Manifest } from '../model-registry/manifest.js';
import { resolveModel } from '../model-registry/resolve.js';
import { stateDict } from '../network/state-dict.js';
import { readCheckpoint } from '../weights/checkpoint.js';
import { asFloat32 } from '../weights/convert.js';
import { matchStateDict } from '../weights/match.js';
import { weightsFetcher } from './fetch.js';
import { type Column, table } from './table.js';
import { count, megabytes } from './units.js';

const columns: readonly Column[] = [
  { heading: 'LAYER', align: 'left' },
  { heading: 'KIND', align: 'left' },
  { heading: 'OUTPUT', align: 'left' },
  { heading: 'PARAMETERS', align: 'right' },
  { heading: 'MULTIPLY-ADDS', align: 'right' },
];

/** Prints a network, as PyTorch prints it or layer by layer, and writes its graph if it is told to. Answers the exit code. */
export async function describe(config: Config<'describe'>, env: NodeJS.ProcessEnv): Promise<number> {
  const manifest = await resolveModel(config.operands[0] as string);
  const network = buildArchitecture(manifest.network);
  const description = describeModel({
    manifest,
    network,
    precision: manifest.precision ?? config.precision,
    status: { state: 'unloaded', onRequest: false },
  });
  if (config.json) process.stdout.write(`${JSON.stringify(description, null, 2)}\n`);
  else process.stdout.write(config.layers ? layerTable(description) : `${description.printed}\n`);
  if (config.graph !== undefined) {
    const bytes = await writeGraph(config.graph, manifest, network, config, env);
    process.stderr.write(`vgg-serve: written to ${config.graph}, ${megabytes(bytes)} MB\n`);
  }
  return 0;
}

function layerTable({ input_size, layers, num_params, multiply_adds }: ModelDescription): string {
  const rows = layers.map(({ name, kind, output_shape, parameters, multiply_adds }) => [
    name,
    kind,
    output_shape.join(' x '),
    count(parameters),
    count(multiply_adds),
  ]);
  const input = ['input', '', `3 x ${input_size} x ${input_size}`, '', ''];
  return table(columns, [input, ...rows, ['total', '', '', count(num_params), count(multiply_adds)]]);
}

/** @returns the size of the file in bytes */
async function writeGraph(
  path: string,
  manifest: Manifest,
  network: Network,
  { cacheDir, ...hub }: Config<'describe'>,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const call = { signal: new AbortController().signal, report: () => undefined };
  const weights = await locateWeights(manifest, network, { fetchWeights: weightsFetcher(hub, env), cacheDir }, call);
  const checkpoint = await readCheckpoint(weights);
  const entries = matchStateDict(stateDict(network), checkpoint);
  const { crop, mean, std } = manifest.transforms;
  return await writeGraphFile(path, {
    layers: network.layers,
    inputSize: crop,
    classes: network.classes,
    mean,
    std,
    tensors: await asFloat32(checkpoint, entries, cacheDir),
  });
}
