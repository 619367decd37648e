import { dirname, sep } from 'node:path';
import type { EngineInfo, PlanStep, Precision } from '../engines/engine.js';
import type { Layer } from '../network/layer.js';
import { layerMultiplyAdds, multiplyAdds, outputShapes } from '../network/shapes.js';
import { parameterCount } from '../network/state-dict.js';
import type { Agreement } from './agreement.js';
import { type Network, printArchitecture } from './architecture.js';
import type { Manifest, Transforms } from './manifest.js';
import type { Model } from './model.js';
import type { LoadProgress, ModelState } from './observer.js';
import { sourceFileName } from './source.js';

/** What the registry holds of a model in each of its states. */
export type ModelStatus =
  /** `onRequest`: nobody waits for it to be loaded. */
  | { readonly state: 'unloaded'; readonly onRequest: boolean }
  | {
      readonly state: 'loading';
      readonly loading: Promise<Model>;
      readonly abort: AbortController;
      readonly progress: LoadProgress;
    }
  | { readonly state: 'ready'; readonly model: Model }
  /** `wasServed`: it was ready, and its engine has given up. */
  | { readonly state: 'failed'; readonly reason: string; readonly wasServed?: boolean };

interface Described {
  readonly manifest: Manifest;
  readonly network: Network;
  readonly precision: Precision;
  readonly status: ModelStatus;
}

/** A model as it is listed; the names are those of the JSON. What is not known (yet) is null. */
export interface ModelSummary {
  readonly name: string;
  readonly weights: string;
  readonly state: ModelState;
  /** Why it failed; of a model that is ready: why it has no engine at the moment, for which its pictures wait. */
  readonly reason: string | null;
  /** While it is loading. */
  readonly progress: ProgressSummary | null;
  /** Counted from the layers. */
  readonly num_params: number;
  /** Per cent. */
  readonly 'acc@1': number | null;
  readonly 'acc@5': number | null;
  readonly classes: number;
  /** Side of the square that the network sees, in pixels. */
  readonly input_size: number;
  readonly transforms: Transforms;
  readonly engine: EngineInfo['engine'] | null;
  readonly engine_version: string | null;
  readonly device: EngineInfo['device'] | null;
  /** Of a GPU. */
  readonly device_name: string | null;
  /** What the engine may take of a GPU's memory, in 2^20 bytes. */
  readonly device_memory_mb: number | null;
  /** Known before it is loaded: it is kept or refused. */
  readonly precision: Precision;
  /** The instruction set of the native engine's kernels. */
  readonly isa: string | null;
  readonly threads: number | null;
  /** With fp32, on sample pictures; null for fp32 itself, and where it was not measured. */
  readonly agreement: Agreement | null;
  /** Whether the weights are initial values: what it answers means nothing. */
  readonly untrained: boolean;
  /** Without its folder, which is no business of clients. Null for weights that were made here. */
  readonly file: string | null;
  /** Of the file that was loaded; before that, what the manifest says. */
  readonly sha256: string | null;
  readonly recipe: string | null;
  readonly dataset: string | null;
}

/** The names are those of the JSON. */
export interface ProgressSummary {
  readonly step: LoadProgress['step'];
  /** While fetching. */
  readonly received_bytes: number | null;
  readonly total_bytes: number | null;
}

export interface ModelDescription extends ModelSummary {
  readonly categories: readonly string[];
  /** Of one picture. */
  readonly multiply_adds: number;
  readonly layers: readonly LayerDescription[];
  /** The steps of a run, of an engine that plans them itself. */
  readonly plan: readonly PlanStep[] | null;
  /** What PyTorch prints for the network. */
  readonly printed: string;
}

export interface LayerDescription {
  readonly name: string;
  readonly kind: Layer['kind'];
  /** [channels, height, width], or [features]. */
  readonly output_shape: readonly number[];
  readonly parameters: number;
  /** Of one picture. */
  readonly multiply_adds: number;
}

export function summarizeModel({ manifest, network, precision, status }: Described): ModelSummary {
  const { meta, source } = manifest;
  const model = status.state === 'ready' ? status.model : undefined;
  return {
    name: manifest.name,
    weights: manifest.weights,
    state: status.state,
    reason: reasonOf(manifest, status),
    progress: status.state === 'loading' ? summarizeProgress(status.progress) : null,
    num_params: parameterCount(network),
    'acc@1': meta['acc@1'] ?? null,
    'acc@5': meta['acc@5'] ?? null,
    classes: network.classes,
    input_size: manifest.transforms.crop,
    transforms: manifest.transforms,
    engine: model?.info.engine ?? null,
    engine_version: model?.info.version ?? null,
    device: model?.info.device ?? null,
    device_name: model?.info.deviceName ?? null,
    device_memory_mb: model?.info.deviceMemoryMb ?? null,
    precision,
    isa: model?.info.isa ?? null,
    threads: model?.info.threads ?? null,
    agreement: model?.agreement ?? null,
    untrained: source.kind === 'untrained',
    file: sourceFileName(source),
    sha256: model?.sha256 ?? (source.kind === 'file' ? source.sha256 : undefined) ?? null,
    recipe: meta.recipe ?? null,
    dataset: meta.dataset ?? null,
  };
}

function reasonOf(manifest: Manifest, status: ModelStatus): string | null {
  if (status.state === 'failed') return withoutFolder(status.reason, manifest);
  const reason = status.state === 'ready' ? withoutEngine(status.model) : undefined;
  return reason === undefined ? null : withoutFolder(reason, manifest);
}

/** Why a model that is ready has no engine; undefined where it has one. */
export function withoutEngine({ condition }: Model): string | undefined {
  switch (condition.state) {
    case 'up':
      return undefined;
    case 'down':
      return `no engine: ${condition.reason}; starting again, attempt ${condition.attempt}`;
    case 'failed':
      return `no engine: ${condition.reason}`;
    default:
      return condition satisfies never;
  }
}

function summarizeProgress({ step, receivedBytes, totalBytes }: LoadProgress): ProgressSummary {
  return { step, received_bytes: receivedBytes ?? null, total_bytes: totalBytes ?? null };
}

export function describeModel(described: Described): ModelDescription {
  const { manifest, network, status } = described;
  const inputSize = manifest.transforms.crop;
  return {
    ...summarizeModel(described),
    categories: manifest.categories,
    multiply_adds: multiplyAdds(network, inputSize),
    layers: outputShapes(network, inputSize).map(({ layer, shape }) => ({
      name: layer.name,
      kind: layer.kind,
      output_shape: shape,
      parameters: parameterCount({ layers: [layer] }),
      multiply_adds: layerMultiplyAdds(layer, shape),
    })),
    plan: (status.state === 'ready' ? status.model.info.plan : undefined) ?? null,
    printed: printArchitecture(manifest.network),
  };
}

/** A reason as clients may read it: it names the file with the weights, but not where the server keeps it. */
export function withoutFolder(reason: string, { source }: Manifest): string {
  if (source.kind === 'file') return reason.replaceAll(dirname(source.path) + sep, '');
  return reason.replace(/(?<=^|\s)\/\S*\//g, '');
}
