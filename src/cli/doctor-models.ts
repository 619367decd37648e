import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Config, parseConfig } from '../config.js';
import { notBuilt } from '../engines/choose.js';
import type { Precision } from '../engines/engine.js';
import { whyNotNative } from '../engines/native/layers.js';
import type { Capabilities } from '../engines/native/probe.js';
import { buildArchitecture } from '../model-registry/architecture.js';
import { embeddedModels, resolveModel } from '../model-registry/resolve.js';
import { topK } from '../model-registry/top-k.js';
import type { Layer } from '../network/layer.js';
import { fileName } from '../weights/catalogue.js';
import { checkpointsFolder, isThere } from '../weights/hub-folder.js';
import type { Check } from './check.js';
import { withSession } from './session.js';
import { megabytes } from './units.js';

/**
 * Whether a model's weights are here, or can come, and whether it can be computed in its precision.
 * @param native as checkEngine takes it
 */
export async function checkModel(
  model: string,
  native: Capabilities | Error | undefined,
  { offline, precision: byDefault }: Config<'doctor'>,
  env: NodeJS.ProcessEnv,
): Promise<Check> {
  const name = 'model';
  try {
    const { source, network, precision = byDefault } = await resolveModel(model);
    const why = whyNotIn(precision, buildArchitecture(network).layers, native);
    if (why !== undefined) {
      const advice = 'Take precision fp32 for it (--precision, the name after @, or the field of its manifest).';
      return { name, ok: false, seen: `${model}: precision ${precision} does not run here: ${why}`, advice };
    }
    switch (source.kind) {
      case 'untrained':
        return { name, ok: true, seen: `${model}: initial weights, made at the first start; its answers mean nothing` };
      case 'file': {
        const { size } = await stat(source.path);
        return { name, ok: true, seen: `${model}: ${source.path}, ${megabytes(size)} MB` };
      }
      case 'hub': {
        const path = join(checkpointsFolder(env), fileName(source.entry));
        const size = `${megabytes(source.entry.meta.file_size * 2 ** 20)} MB`;
        if (await isThere(path)) return { name, ok: true, seen: `${model}: ${path}, ${size}` };
        const seen = `${model}: ${path} is not here`;
        if (!offline)
          return {
            name,
            ok: true,
            seen: `${seen}; the first start fetches it (${size}), or "vgg-serve pull ${model}"`,
          };
        return {
          name,
          ok: false,
          seen,
          advice: `Put the file there, or leave --offline out and call "vgg-serve pull ${model}".`,
        };
      }
      default:
        return source satisfies never;
    }
  } catch (error) {
    const advice =
      'Give --model (VGG_SERVE_MODEL) a name of "vgg-serve models", or the path of a manifest whose files are there.';
    return { name, ok: false, seen: `${model}: ${(error as Error).message}`, advice };
  }
}

function whyNotIn(
  precision: Precision,
  layers: readonly Layer[],
  native: Capabilities | Error | undefined,
): string | undefined {
  if (precision === 'fp32') return undefined;
  const why = whyNotNative(layers);
  if (why !== undefined) return `it is the native engine's, which does not run this network: ${why}`;
  if (native === undefined) return notBuilt;
  if (native instanceof Error) return native.message.split('\n')[0];
  const can = native[precision];
  return 'why' in can ? can.why : undefined;
}

/** The sample picture of the embedded model and the label that it must get. */
const sample = { picture: 'ankle-boot.png', label: 'Ankle boot' };

/** Decodes a picture and runs the embedded network, with the settings of the environment. */
export async function checkEndToEnd(env: NodeJS.ProcessEnv): Promise<Check> {
  const name = 'answer';
  try {
    const [model = ''] = embeddedModels();
    const { source, categories } = await resolveModel(model);
    const file = join(dirname(source.kind === 'file' ? source.path : ''), 'samples', sample.picture);
    const config = parseConfig(['--model', model, file], env, 'classify');
    const outcome = await withSession(config, env, (session) => session.classify(file));
    if ('error' in outcome) throw new Error(outcome.error.detail);
    const { logits, computeMs } = outcome.answered;
    const [first] = topK(logits, 1, categories);
    if (first?.label !== sample.label) throw new Error(`${sample.picture} was taken for "${first?.label}"`);
    const seen = `${model} finds the ${first.label} in its sample picture, ${(100 * first.probability).toFixed(1)}%, in ${computeMs.toFixed(1)} ms`;
    return { name, ok: true, seen };
  } catch (error) {
    const advice =
      'Put right what has failed above, and what the message names; if all of that is ok, install the package again.';
    return { name, ok: false, seen: (error as Error).message, advice };
  }
}
